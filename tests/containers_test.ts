import assert from "node:assert/strict";
import { parse } from "yaml";
import project from "../deno.json" with { type: "json" };
import { variables } from "./support/documentation.ts";

interface Service {
  readonly image?: string;
  readonly build?: { readonly context: string; readonly target: string };
  readonly environment?: Readonly<Record<string, string | null>>;
  readonly "depends_on"?: Readonly<Record<string, { readonly condition: string }>>;
  readonly volumes?: readonly string[];
  readonly ports?: readonly string[];
  readonly profiles?: readonly string[];
  readonly command?: readonly string[];
  readonly "read_only"?: boolean;
  readonly "cap_drop"?: readonly string[];
  readonly healthcheck?: { readonly test: readonly string[] };
}

interface Composed {
  readonly services: Readonly<Record<string, Service>>;
  readonly volumes: Readonly<Record<string, unknown>>;
}

const { services, volumes } = parse(await Deno.readTextFile("compose.yaml"), { merge: true }) as Composed;
const dockerfile = await Deno.readTextFile("Dockerfile");
const ours = ["smtp-server", "queue-worker", "api-server", "migrate", "seed"];

/** A stage's instructions, each on one line. */
const stages = new Map(
  dockerfile.replaceAll(/\\\n\s*/g, " ").split(/^(?=FROM )/m).slice(1).map((stage) => {
    const [, base = "", name = ""] = /^FROM (\S+) AS (\S+)/.exec(stage) ?? [];
    return [name, { base, lines: stage.split("\n").filter((line) => /^[A-Z]/.test(line)) }] as const;
  }),
);

Deno.test("compose.yaml has the documented services, volumes and profiles", () => {
  assert.deepEqual(Object.keys(services).sort(), [...ours, "postgres", "redis", "test-client"].sort());
  assert.deepEqual(Object.keys(volumes).sort(), ["messages", "postgres-data", "redis-data"]);
  assert.match(services["postgres"]?.image ?? "", /^postgres:18/);
  assert.match(services["redis"]?.image ?? "", /^redis:7\.4/);
  assert.ok(services["redis"]?.command?.join(" ").includes("--appendonly yes"));
  assert.deepEqual(services["seed"]?.profiles, ["seed-init-dev-accounts"]);
  const profiled = Object.entries(services).filter(([, { profiles }]) => profiles !== undefined);
  assert.deepEqual(profiled.map(([name]) => name).sort(), ["seed", "test-client"]);
});

Deno.test("compose.yaml passes every documented variable on", () => {
  for (const name of ours) {
    const missing = variables().filter((variable) => !(variable in (services[name]?.environment ?? {})));
    assert.deepEqual(missing, [], name);
  }
});

Deno.test("compose.yaml overrides no variable that is set", () => {
  for (const name of [...ours, "test-client"]) {
    for (const [variable, value] of Object.entries(services[name]?.environment ?? {})) {
      if (value !== null) assert.ok(value.startsWith(`\${${variable}`), `${name}: ${variable} is ${value}`);
    }
  }
});

Deno.test("compose.yaml starts each service when what it needs is healthy", () => {
  const ready = { condition: "service_healthy" };
  for (const name of ["smtp-server", "queue-worker", "api-server", "seed"]) {
    const migrated = { condition: "service_completed_successfully" };
    assert.deepEqual(services[name]?.depends_on, { postgres: ready, redis: ready, migrate: migrated }, name);
  }
  assert.deepEqual(services["migrate"]?.depends_on, { postgres: ready });
  assert.deepEqual(services["test-client"]?.depends_on, { "smtp-server": ready });
  for (const name of ["postgres", "redis", "smtp-server", "queue-worker", "api-server"]) {
    assert.ok(services[name]?.healthcheck, `${name} has no health check`);
  }
});

Deno.test("compose.yaml publishes on loopback unless it is told otherwise, and shares the bodies", () => {
  const published = Object.values(services).flatMap(({ ports }) => ports ?? []);
  assert.equal(published.length, 3);
  for (const port of published) assert.ok(port.startsWith("${SMTP_PROXY_PUBLISH:-127.0.0.1}:"), port);
  for (const name of ["smtp-server", "queue-worker"]) {
    assert.deepEqual(services[name]?.volumes, ["messages:/data/messages"]);
  }
  assert.deepEqual(services["api-server"]?.volumes, ["messages:/data/messages:ro"]);
});

Deno.test("compose.yaml's services are confined, and built by targets that exist", () => {
  for (const name of [...ours, "test-client"]) {
    const service = services[name];
    assert.equal(service?.read_only, true, name);
    assert.deepEqual(service?.cap_drop, ["ALL"], name);
    assert.equal(service?.build?.target, name);
    assert.ok(stages.has(name), name);
  }
});

Deno.test("the test client's files are there", async () => {
  const [source = ""] = services["test-client"]?.volumes?.[0]?.split(":/test-data:ro") ?? [];
  assert.ok((await Deno.stat(`${source}/sample.txt`)).isFile);
});

Deno.test("the Dockerfile's bases are pinned to the version of Deno", async () => {
  const version = (await Deno.readTextFile(".deno-version")).trim();
  for (const [name, { base }] of stages) {
    if (base !== "base") {
      assert.match(base, new RegExp(`^denoland/deno:\\w+-${RegExp.escape(version)}$`), name);
    }
  }
  assert.ok(stages.has("builder"));
});

Deno.test("the Dockerfile runs each program with its task's permissions, as nobody", () => {
  assert.ok(stages.get("base")?.lines.some((line) => /^USER [1-9]\d*:[1-9]\d*$/.test(line)));
  const tasks: Readonly<Record<string, string>> = { ...project.tasks, "test-client": project.tasks.client };
  for (const [name, { base, lines }] of stages) {
    if (base !== "base") continue;
    const entry = lines.find((line) => line.startsWith("ENTRYPOINT "))?.slice("ENTRYPOINT ".length) ?? "[]";
    const words = (JSON.parse(entry) as string[]).filter((word) => word !== "--cached-only");
    assert.equal(words.join(" "), tasks[name], name);
    assert.ok(!lines.some((line) => line.startsWith("USER")), name);
    assert.ok(lines.some((line) => line.startsWith("HEALTHCHECK ")), name);
  }
});

Deno.test(".env.example names variables that something reads", async () => {
  const text = await Deno.readTextFile(".env.example");
  const compose = await Deno.readTextFile("compose.yaml");
  const named = [...text.matchAll(/^#?([A-Z_]+)=/gm)].map((match) => match[1] ?? "");
  assert.ok(named.length >= 10);
  for (const name of named) assert.ok(compose.includes(name), name);
});
