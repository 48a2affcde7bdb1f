import { openSession } from "../../lib/postgres/database.ts";
import { hashPassword } from "../../lib/users/password.ts";
import { addGroup, addPerson, type TestApi, testApi } from "../support/api.ts";
import { startTestServer } from "../support/test_server.ts";
import { medianOf, type Result } from "./result.ts";

/** Who fails to log in, and with what. */
const failures = {
  existing: { email: "ann@acme.example", password: "wrong" },
  unknown: { email: "nobody@acme.example", password: "wrong" },
  account: { email: "smtp@acme.example", password: "right" },
  suspended: { email: "out@acme.example", password: "wrong" },
  bcrypt: { email: "old@acme.example", password: "wrong" },
} as const;

/** Of bcrypt, as an older installation has it, at a usual cost. */
const oldHash = "$2a$10$N9qo8uLOickgx2ZMRZoMyeIjZAgcfl7p92ldGxad68LJZdL17lhWy";

/**
 * How long a login takes that fails, by what there is of the user: nobody must learn that from the time. The API is
 * asked without a socket, so that nothing but its own work is measured, each kind in turn.
 */
export async function* login(tries: number): AsyncGenerator<Result> {
  await using server = await startTestServer();
  for (const [name, value] of Object.entries(server.env)) Deno.env.set(name, value);
  await using api = await testApi({ attempts: 1_000_000, failure: { failAfterMs: 500 } });
  await addUsers(api);
  const kinds = Object.keys(failures) as (keyof typeof failures)[];
  const times = new Map(kinds.map((kind) => [kind, [] as number[]]));
  for (let round = -5; round < tries; round++) {
    // In another order each time, so that none always follows the same one.
    for (const kind of kinds.map((_, n) => kinds[(n * 3 + round + 8) % kinds.length] ?? "existing")) {
      const begin = performance.now();
      const { status } = await api.ask("POST", "/api/v1/auth/login", { body: failures[kind] });
      if (status !== 401) throw new Error(`Cannot measure ${kind}: status ${status}`);
      if (round >= 0) times.get(kind)?.push(performance.now() - begin);
    }
  }
  const medians = new Map(
    [...times].map(([kind, all]) => [kind, medianOf(all.map((p50) => ({ p50 })))["p50"] ?? 0]),
  );
  for (const [kind, p50] of medians) {
    const ofExisting = p50 / (medians.get("existing") ?? p50);
    yield { case: "login", target: "api-server", load: kind, values: { p50, ofExisting } };
  }
}

async function addUsers(api: TestApi): Promise<void> {
  const group = await addGroup(api, "acme");
  await addPerson(api, failures.existing.email, [[group, "member"]]);
  const suspended = await addPerson(api, failures.suspended.email, [[group, "member"]]);
  await addPerson(api, failures.bcrypt.email, [[group, "member"]], oldHash);
  await using session = await openSession({ url: api.database.ownerUrl });
  await session.query("update users set status = 'suspended' where id = $1", [suspended]);
  await session.query(
    `with u as (insert into users (email, username, account_type, password_hash)
       values ($1, 'smtp', 'smtp', $2) returning id)
     insert into group_members (group_id, user_id, account_type) select $3, id, 'smtp' from u`,
    [failures.account.email, await hashPassword(failures.account.password), group],
  );
}
