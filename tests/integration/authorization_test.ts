import assert from "node:assert/strict";
import { actions, permissions } from "../../services/api-server/access/permissions.ts";
import { type AccessCase, accessWorld, callers, coreCases } from "../support/access_cases.ts";
import { mailCases } from "../support/mail_cases.ts";
import { providerCases } from "../support/provider_cases.ts";
import { routingRuleCases } from "../support/routing_rule_cases.ts";
import { type Answer, type TestApi, testApi } from "../support/api.ts";

/** Every operation's row; a resource adds its own record here. */
const cases: Readonly<Record<string, AccessCase>> = {
  ...coreCases,
  ...providerCases,
  ...mailCases,
  ...routingRuleCases,
};

interface DocumentedOperation {
  readonly "x-action": string;
  readonly responses: Readonly<Record<string, unknown>>;
}

async function documented(api: TestApi): Promise<ReadonlyMap<string, DocumentedOperation>> {
  const { body } = await api.ask("GET", "/openapi.json");
  const found = new Map<string, DocumentedOperation>();
  for (
    const [path, methods] of Object.entries(body.paths as Record<string, Record<string, DocumentedOperation>>)
  ) {
    for (const [method, operation] of Object.entries(methods)) {
      found.set(`${method.toUpperCase()} ${path}`, operation);
    }
  }
  return found;
}

Deno.test("every operation of the document has a row here and an action in the table of permissions", async () => {
  await using api = await testApi();
  const operations = await documented(api);
  assert.deepEqual([...operations.keys()].sort(), Object.keys(cases).sort());
  const known: readonly string[] = ["public", ...actions];
  for (const [name, operation] of operations) {
    assert.ok(known.includes(operation["x-action"]), `${name}: ${operation["x-action"]}`);
    assert.equal(cases[name]?.allowed === "public", operation["x-action"] === "public", name);
  }
  assert.ok(Object.values(permissions).every(({ grades }) => grades.length > 0));
});

Deno.test("every operation serves whom its row names, refuses everybody else, and answers as documented", async () => {
  await using api = await testApi();
  await using scene = await accessWorld(api);
  const operations = await documented(api);
  const wrong: string[] = [];
  for (const [name, { allowed, make, answers }] of Object.entries(cases)) {
    const [method = ""] = name.split(" ");
    for (const caller of [...callers, "stranger"] as const) {
      const { path, body } = await make(scene.world);
      const token = caller === "stranger" ? undefined : scene.tokens[caller];
      const headers: Record<string, string> = caller.startsWith("system_")
        ? { "x-group-id": scene.world.alpha }
        : {};
      if (name.includes(" /api/v1/groups") && !path.includes(scene.world.alpha)) delete headers["x-group-id"];
      const answer = await api.ask(method, path, { token, body, headers });
      const expected = expectedOf(allowed, answers, caller);
      const told = `${name} by ${caller}: ${answer.status} ${JSON.stringify(answer.body).slice(0, 200)}`;
      if (!expected.includes(answer.status)) wrong.push(`${told}, expected ${expected}`);
      if (operations.get(name)?.responses[answer.status] === undefined) {
        wrong.push(`${told}, which is not documented`);
      }
    }
  }
  assert.deepEqual(wrong, []);
  assert.deepEqual(api.faults, []);
});

function expectedOf(
  allowed: AccessCase["allowed"],
  answers: readonly number[],
  caller: string,
): readonly number[] {
  if (allowed === "public") return answers;
  if (caller === "stranger") return [401];
  return (allowed as readonly string[]).includes(caller) ? answers : [403];
}

type Scene = Awaited<ReturnType<typeof accessWorld>>;

/** What another tenant's owner is served or told and should not be, operation by operation. */
async function leaks(api: TestApi, scene: Scene, except: readonly string[] = []): Promise<readonly string[]> {
  const wrong: string[] = [];
  for (const [name, { make, foreign, allowed }] of Object.entries(cases)) {
    if (allowed === "public" || except.includes(name)) continue;
    const [method = ""] = name.split(" ");
    const { path, body } = await make(scene.world);
    const answer = await api.ask(method, path, { token: scene.foreign, body });
    if (foreign !== "own" && !foreign.includes(answer.status)) {
      wrong.push(`${name}: ${answer.status} ${JSON.stringify(answer.body)}, expected ${foreign}`);
    }
    if (tellsOf(answer, scene.world.alpha)) wrong.push(`${name} tells: ${JSON.stringify(answer.body)}`);
    const headers = { "x-group-id": scene.world.alpha };
    const named = await api.ask(method, path, { token: scene.foreign, body, headers });
    if (![403, 404].includes(named.status)) wrong.push(`${name} in another tenant's name: ${named.status}`);
  }
  return wrong;
}

function tellsOf(answer: Answer, group: string): boolean {
  const text = JSON.stringify(answer.body ?? "");
  return text.includes(group) || text.includes("alpha.example");
}

Deno.test("another tenant's owner is served nothing, and learns of nothing, that is not theirs", async () => {
  await using api = await testApi();
  await using scene = await accessWorld(api);
  assert.deepEqual(await leaks(api, scene), []);
  assert.deepEqual(api.faults, []);
});

/** Routes that rely on row-level security alone. */
const relyOnPolicies: readonly string[] = [];

Deno.test("the same holds with row-level security switched off, but for the routes that rely on it", async () => {
  await using api = await testApi();
  await using scene = await accessWorld(api);
  await scene.world.owner.run(`do $$ declare name text; begin
    for name in select relname from pg_class where relnamespace = 'public'::regnamespace and relrowsecurity loop
      execute format('alter table %I disable row level security', name);
    end loop; end $$`);
  assert.deepEqual(await leaks(api, scene, relyOnPolicies), []);
});
