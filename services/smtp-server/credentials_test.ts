import assert from "node:assert/strict";
import type { GroupId, UserId } from "../../lib/ids.ts";
import { parseCidr } from "../../lib/network/cidr.ts";
import { Refusal } from "../../lib/refusal.ts";
import { type Account, type CredentialParts, Credentials } from "./credentials.ts";
import { Throttle, throttleDefaults } from "./throttle.ts";

const ann: Account = {
  user: "u1" as UserId,
  group: "g1" as GroupId,
  username: "ann",
  passwordHash: "hash of right",
  revision: "7",
  isActive: true,
  allowedNetworks: [],
};

interface Bench {
  readonly credentials: Credentials;
  readonly verified: string[];
  account: Account | undefined;
  /** What becomes of an account whose password was right; it stays as it is when not given. */
  renewed: Account | undefined;
  nowMs: number;
  /** How long failures waited for their answers. */
  readonly pauses: number[];
  isDown: boolean;
  lookups: number;
  /** While set, verifying waits for it. */
  gate: Promise<void> | undefined;
}

function bench(options: Partial<typeof throttleDefaults> = {}): Bench {
  const throttle = new Throttle({ record: () => {}, hasSucceeded: () => Promise.resolve(false) }, {
    ...throttleDefaults,
    failuresPerAddress: 10_000,
    failuresPerAccount: 10_000,
    ...options,
  });
  const parts: CredentialParts = {
    accounts: {
      findByUsername: (name) => {
        state.lookups++;
        if (state.isDown) return Promise.reject(new Error("down"));
        return Promise.resolve(name === state.account?.username ? state.account : undefined);
      },
      findByApiKey: (hash) => Promise.resolve(hash[0] === 1 ? state.account : undefined),
      renew: (account) => Promise.resolve(state.renewed ?? account),
      policyOf: () => state.isDown ? Promise.reject(new Error("down")) : Promise.resolve(undefined),
    },
    throttle,
    verifyPassword: async (password, hash) => {
      state.verified.push(hash);
      await state.gate;
      return hash === `hash of ${password}`;
    },
    dummyHash: "dummy",
    apiKeyHash: (password) =>
      password.startsWith("key_")
        ? Promise.resolve(Uint8Array.of(password === "key_good" ? 1 : 2))
        : undefined,
    now: () => state.nowMs,
    failAfterMs: 3_600_000,
    pause: (ms) => Promise.resolve(void state.pauses.push(ms)),
  };
  const state: Bench = {
    credentials: new Credentials(parts),
    verified: [],
    account: ann,
    renewed: undefined,
    nowMs: 0,
    pauses: [],
    isDown: false,
    lookups: 0,
    gate: undefined,
  };
  return state;
}

async function codeOf(login: Promise<unknown>): Promise<string> {
  try {
    await login;
    return "ok";
  } catch (error) {
    if (error instanceof Refusal) return error.code;
    throw error;
  }
}

Deno.test("Credentials gives the identity of a right password", async () => {
  const { credentials } = bench();
  assert.deepEqual(await credentials.authenticate("ann", "right", "192.0.2.1"), {
    user: "u1",
    group: "g1",
    username: "ann",
    revision: "7",
  });
});

Deno.test("Credentials verifies a remembered login once an hour", async () => {
  const state = bench();
  for (const minute of [0, 1, 59]) {
    state.nowMs = minute * 60_000;
    await state.credentials.authenticate("ann", "right", "192.0.2.1");
  }
  assert.equal(state.verified.length, 1);
  state.nowMs = 60 * 60_000;
  await state.credentials.authenticate("ann", "right", "192.0.2.1");
  assert.equal(state.verified.length, 2);
});

Deno.test("Credentials answers a wrong login later than any hash is verified, and no other", async () => {
  const state = bench({ failuresPerAddress: 2 });
  await state.credentials.authenticate("ann", "right", "192.0.2.1");
  assert.equal(state.pauses.length, 0);
  for (const [name, password] of [["ann", "wrong"], ["nobody", "wrong"]] as const) {
    const wrong = state.credentials.authenticate(name, password, "192.0.2.2");
    assert.equal(await codeOf(wrong), "credentials_wrong");
  }
  assert.equal(state.pauses.length, 2);
  // The rest of the hour that it has at the most: the time that verifying took is part of it.
  assert.ok(state.pauses.every((ms) => ms > 0 && ms <= 3_600_000), String(state.pauses));
  const throttled = state.credentials.authenticate("ann", "wrong", "192.0.2.2");
  assert.equal(await codeOf(throttled), "credentials_throttled");
  assert.equal(state.pauses.length, 2);
});

Deno.test("Credentials goes by the account as it is once its hash was renewed", async () => {
  const state = bench();
  state.renewed = { ...ann, revision: "8" };
  for (let login = 0; login < 2; login++) {
    assert.equal((await state.credentials.authenticate("ann", "right", "192.0.2.1")).revision, "8");
  }
  state.renewed = { ...ann, isActive: false };
  state.nowMs = 2 * 3_600_000;
  const late = state.credentials.authenticate("ann", "right", "192.0.2.1");
  assert.equal(await codeOf(late), "credentials_wrong");
});

Deno.test("Credentials verifies anew what it was told to forget", async () => {
  const state = bench();
  const identity = await state.credentials.authenticate("ann", "right", "192.0.2.1");
  state.credentials.forget(identity);
  state.account = { ...ann, passwordHash: "hash of other" };
  assert.equal(
    await codeOf(state.credentials.authenticate("ann", "right", "192.0.2.1")),
    "credentials_wrong",
  );
});

Deno.test("Credentials hashes for every failure, also for unknown, suspended and passwordless users", async () => {
  const { passwordHash: _, ...rest } = ann;
  const accounts = [ann, undefined, { ...ann, isActive: false }, { ...rest, passwordHash: undefined }];
  for (const account of accounts) {
    const state = bench();
    state.account = account;
    const password = account === ann ? "wrong" : "right";
    assert.equal(
      await codeOf(state.credentials.authenticate("ann", password, "192.0.2.1")),
      "credentials_wrong",
    );
    assert.equal(state.verified.length, 1);
  }
});

Deno.test("Credentials never lets the dummy hash in", async () => {
  const state = bench();
  state.account = undefined;
  assert.equal(
    await codeOf(state.credentials.authenticate("ghost", "dummy", "192.0.2.1")),
    "credentials_wrong",
  );
});

Deno.test("Credentials takes an API key of the account without hashing, and of no other", async () => {
  const state = bench();
  assert.equal(await codeOf(state.credentials.authenticate("ann", "key_good", "192.0.2.1")), "ok");
  assert.equal(
    await codeOf(state.credentials.authenticate("ann", "key_bad", "192.0.2.1")),
    "credentials_wrong",
  );
  assert.equal(
    await codeOf(state.credentials.authenticate("bob", "key_good", "192.0.2.1")),
    "credentials_wrong",
  );
  assert.equal(state.verified.length, 0);
});

Deno.test("Credentials remembers an API key no longer than it is valid", async () => {
  const state = bench();
  state.account = { ...ann, expiresAtMs: 1000 };
  assert.equal(await codeOf(state.credentials.authenticate("ann", "key_good", "192.0.2.1")), "ok");
  state.account = { ...ann, isActive: false };
  state.nowMs = 999;
  assert.equal(await codeOf(state.credentials.authenticate("ann", "key_good", "192.0.2.1")), "ok");
  state.nowMs = 1000;
  assert.equal(
    await codeOf(state.credentials.authenticate("ann", "key_good", "192.0.2.1")),
    "credentials_wrong",
  );
});

Deno.test("Credentials lets only the group's networks in", async () => {
  const network = parseCidr("10.0.0.0/8");
  assert.ok(network);
  const state = bench();
  state.account = { ...ann, allowedNetworks: [network] };
  assert.equal(
    await codeOf(state.credentials.authenticate("ann", "right", "192.0.2.1")),
    "credentials_wrong",
  );
  assert.equal(await codeOf(state.credentials.authenticate("ann", "right", "10.9.9.9")), "ok");
  assert.equal(
    await codeOf(state.credentials.authenticate("ann", "right", "192.0.2.1")),
    "credentials_wrong",
  );
});

Deno.test("Credentials verifies a remembered password each time that it comes from outside the networks", async () => {
  const network = parseCidr("10.0.0.0/8");
  assert.ok(network);
  const state = bench();
  state.account = { ...ann, allowedNetworks: [network] };
  for (const verified of [1, 2, 3]) {
    await codeOf(state.credentials.authenticate("ann", "right", "192.0.2.1"));
    assert.equal(state.verified.length, verified);
  }
});

Deno.test("Credentials verifies one pair once at a time", async () => {
  const state = bench();
  const { promise, resolve } = Promise.withResolvers<void>();
  state.gate = promise;
  const logins = Array.from(
    { length: 50 },
    () => state.credentials.authenticate("ann", "right", "192.0.2.1"),
  );
  resolve();
  await Promise.all(logins);
  assert.equal(state.verified.length, 1);
});

Deno.test("Credentials verifies two at a time, lets a hundred wait and refuses the next", async () => {
  const state = bench();
  const { promise, resolve } = Promise.withResolvers<void>();
  state.gate = promise;
  const logins = Array.from(
    { length: 110 },
    (_, n) => codeOf(state.credentials.authenticate("ann", `no${n}`, "192.0.2.1")),
  );
  const early = await Promise.race(logins);
  assert.equal(early, "credentials_throttled");
  assert.equal(state.verified.length, 2);
  resolve();
  const codes = await Promise.all(logins);
  assert.equal(codes.filter((code) => code === "credentials_throttled").length, 8);
  assert.equal(codes.filter((code) => code === "credentials_wrong").length, 102);
});

Deno.test("Credentials holds guessers back without a look-up, but not a remembered client", async () => {
  const state = bench({ failuresPerAddress: 2, failuresPerAccount: 2 });
  await state.credentials.authenticate("ann", "right", "192.0.2.1");
  for (const password of ["a", "b"]) {
    await codeOf(state.credentials.authenticate("ann", password, "192.0.2.1"));
  }
  const lookups = state.lookups;
  assert.equal(
    await codeOf(state.credentials.authenticate("ann", "c", "192.0.2.1")),
    "credentials_throttled",
  );
  assert.equal(state.lookups, lookups);
  assert.equal(await codeOf(state.credentials.authenticate("ann", "right", "192.0.2.1")), "ok");
});

Deno.test("Credentials never takes an outage for a wrong password", async () => {
  const state = bench();
  state.isDown = true;
  assert.equal(
    await codeOf(state.credentials.authenticate("ann", "right", "192.0.2.1")),
    "credentials_unavailable",
  );
  assert.equal(await codeOf(state.credentials.policyOf(ann.user)), "database_down");
  state.isDown = false;
  assert.equal(await codeOf(state.credentials.authenticate("ann", "right", "192.0.2.1")), "ok");
});
