import assert from "node:assert/strict";
import { openSession, type Session } from "../../lib/postgres/database.ts";
import { newKeyText, parseKeys } from "../../lib/secrets/seal.ts";
import { openSecrets } from "../../lib/providers/provider_secrets.ts";
import { verifyPassword } from "../../lib/users/password.ts";
import { type ProgramResult, runProgram } from "../support/run_program.ts";
import { type TestDatabase, testDatabase } from "../support/postgres.ts";
import { until } from "../support/until.ts";

const example = "services/operations/apply.yaml";
const secrets = {
  SHOP_ORDERS_PASSWORD: "orders-hidden-password",
  SHOP_NEWS_PASSWORD: "news-hidden-password",
  SHOP_MAILGUN_KEY: "mailgun-hidden-key",
  SHOP_RELAY_PASSWORD: "relay-hidden-password",
};

/** A database and a folder for files to apply. */
class Workshop implements AsyncDisposable {
  private constructor(
    readonly database: TestDatabase,
    readonly owner: Session,
    readonly folder: string,
    readonly keys: string,
  ) {}

  static async open(): Promise<Workshop> {
    const database = await testDatabase();
    const owner = await openSession({ url: database.ownerUrl });
    return new Workshop(
      database,
      owner,
      await Deno.makeTempDir({ prefix: "smtp_proxy_apply_" }),
      newKeyText("k1"),
    );
  }

  /** Applies a file, or a text as one; never without looking that no secret is printed. */
  async apply(content: unknown, ...flags: readonly string[]): Promise<ProgramResult> {
    let file = example;
    if (content !== example) {
      file = `${this.folder}/groups.json`;
      await Deno.writeTextFile(file, typeof content === "string" ? content : JSON.stringify(content));
    }
    const result = await runProgram("apply", [file, ...flags], {
      ...secrets,
      SMTP_PROXY_DATABASE_URL: this.database.urlFor("smtp_proxy_admin"),
      SMTP_PROXY_SECRETS_KEYS: this.keys,
    });
    assert.doesNotMatch(result.stdout + result.stderr, /hidden/);
    return result;
  }

  /** Everything that a file may change, with revisions and times. */
  async picture(): Promise<string> {
    const tables = [
      "groups",
      "users",
      "group_members",
      "esp_providers",
      "routing_rules",
      "routing_rule_providers",
    ];
    const rows = await Promise.all(
      [...tables, "activity_logs"].map((table) =>
        this.owner.run(
          `select to_jsonb(t) - 'revision' as row${
            table === "groups" ? ", revision" : ""
          } from ${table} t order by 1`,
        )
      ),
    );
    return JSON.stringify(rows);
  }

  async activities(): Promise<readonly string[]> {
    const rows = await this.owner.run(
      "select action, comment, changes::text as changes from activity_logs order by id",
    );
    assert.doesNotMatch(JSON.stringify(rows), /hidden/);
    assert.ok(rows.every(({ comment }) => comment === "apply"));
    return rows.map(({ action }) => String(action));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.owner[Symbol.asyncDispose]();
    await this.database[Symbol.asyncDispose]();
    await Deno.remove(this.folder, { recursive: true });
  }
}

const relay = {
  name: "relay",
  "provider_type": "smtp",
  "smtp_config": { host: "relay.example.net", username: "u", password: "env:SHOP_RELAY_PASSWORD" },
};
const quiet = { name: "quiet", "provider_type": "stdout" };
const account = {
  email: "orders@shop.example",
  password: "env:SHOP_ORDERS_PASSWORD",
  "allowed_domains": ["shop.example"],
};
const shop = {
  name: "shop",
  "monthly_limit": 5,
  "allowed_domains": ["shop.example"],
  "allowed_ips": ["10.0.0.1/8"],
  accounts: [account],
  providers: [relay, quiet],
  "routing_rules": [
    { priority: 1, conditions: { "smtp_account": "ORDERS@shop.example" }, providers: ["quiet"] },
    { priority: 2, providers: [{ name: "relay", weight: 3 }, { name: "quiet", weight: 1 }] },
  ],
};

Deno.test("apply makes what the example says, tells of each change, and the second time changes nothing", async () => {
  await using workshop = await Workshop.open();
  const first = await workshop.apply(example);
  assert.equal(first.code, 0, first.stderr);
  assert.match(first.stdout, /^group example-shop: created$/m);
  assert.match(first.stdout, /^group example-shop: provider spare: created$/m);
  assert.match(first.stdout, /^changes made: 7$/m);
  const before = await workshop.picture();
  const second = await workshop.apply(example);
  assert.deepEqual(
    [second.code, second.stdout, second.stderr],
    [0, "nothing to change: everything is as the file says\n", ""],
  );
  assert.equal(await workshop.picture(), before);
  assert.deepEqual(await workshop.activities(), [
    "admin.create_group",
    "admin.create_user",
    "admin.create_user",
    "provider.create",
    "provider.create",
    "routing_rule.create",
    "routing_rule.create",
  ]);
});

Deno.test("apply seals secrets for their row and stores passwords as hashes", async () => {
  await using workshop = await Workshop.open();
  assert.equal((await workshop.apply({ groups: [shop] })).code, 0);
  const [provider] = await workshop.owner.run(
    "select id, group_id, settings::text as settings, secrets, key_id from esp_providers where name = 'relay'",
  );
  const sealed = {
    id: String(provider?.["id"]),
    groupId: String(provider?.["group_id"]),
    secrets: provider?.["secrets"] as Uint8Array,
    keyId: String(provider?.["key_id"]),
  };
  assert.doesNotMatch(String(provider?.["settings"]), /password/);
  assert.deepEqual(await openSecrets(sealed, await parseKeys(workshop.keys) ?? []), {
    password: "relay-hidden-password",
  });
  const [user] = await workshop.owner.run("select id, username, password_hash as hash from users");
  assert.equal(user?.["username"], "orders@shop.example");
  assert.equal(await verifyPassword("orders-hidden-password", String(user?.["hash"])), true);
  const [rule] = await workshop.owner.run("select conditions from routing_rules where priority = 1");
  assert.deepEqual(rule?.["conditions"], { "smtp_account": user?.["id"] });
});

Deno.test("apply --dry-run says what apply then does, and changes nothing", async () => {
  await using workshop = await Workshop.open();
  const before = await workshop.picture();
  const dry = await workshop.apply({ groups: [shop] }, "--dry-run");
  assert.equal(dry.code, 0, dry.stderr);
  assert.equal(await workshop.picture(), before);
  const wet = await workshop.apply({ groups: [shop] });
  const lines = (text: string) => text.trim().split("\n").slice(0, -1);
  assert.deepEqual(lines(dry.stdout), lines(wet.stdout));
  assert.match(dry.stdout, /^would make 6 changes; none was made$/m);
});

Deno.test("apply changes what differs, keeps what is left out, and removes only what --prune names", async () => {
  await using workshop = await Workshop.open();
  await workshop.apply({ groups: [shop] });
  await workshop.owner.run("update esp_providers set enabled = false where name = 'quiet'");
  const changed = {
    name: "shop",
    "monthly_limit": 9,
    accounts: [{ email: "orders@SHOP.example", password: "env:SHOP_NEWS_PASSWORD" }],
    providers: [{ ...relay, "smtp_config": { ...relay.smtp_config, host: "other.example.net" } }],
    "routing_rules": [{ priority: 2, providers: ["relay"] }],
  };
  const { code, stdout, stderr } = await workshop.apply({ groups: [changed] });
  assert.equal(code, 0, stderr);
  assert.deepEqual(stdout.split("\n"), [
    "group shop: changed (monthly_limit: 5 -> 9)",
    'group shop: account orders@SHOP.example: changed (password: "[masked]" -> "[masked]")',
    'group shop: provider relay: changed (smtp_config: {"host":"relay.example.net","username":"u"} -> ' +
    '{"host":"other.example.net","username":"u"})',
    'group shop: routing rule 2: changed (providers: [{"name":"relay","weight":3},{"name":"quiet","weight":1}] -> ["relay"])',
    "changes made: 4",
    "",
  ]);
  const count = async (table: string) =>
    Number((await workshop.owner.run(`select count(*)::int as count from ${table}`))[0]?.["count"]);
  assert.deepEqual([await count("esp_providers"), await count("routing_rules")], [2, 2]);
  const [kept] = await workshop.owner.run("select enabled from esp_providers where name = 'quiet'");
  assert.equal(kept?.["enabled"], false);
  assert.match((await workshop.apply({ groups: [changed] })).stdout, /^nothing to change/);

  const pruned = await workshop.apply({ groups: [{ ...changed, accounts: [] }] }, "--prune");
  assert.deepEqual(pruned.stdout.split("\n").map((line) => line.replace(/ \(.*/, "")), [
    "group shop: account orders@shop.example: removed",
    "group shop: routing rule 1: removed",
    "group shop: provider quiet: removed",
    "changes made: 3",
    "",
  ]);
  assert.deepEqual([await count("esp_providers"), await count("routing_rules")], [1, 1]);
  const [user] = await workshop.owner.run("select status from users");
  assert.equal(user?.["status"], "deleted");
  assert.match(
    (await workshop.apply({ groups: [{ name: "shop" }] }, "--prune")).stdout,
    /^nothing to change/,
  );
});

Deno.test("apply tells every mistake of a file at once, ends with 2 and does nothing", async () => {
  await using workshop = await Workshop.open();
  const before = await workshop.picture();
  const bad = {
    groups: [
      {
        name: "shop",
        accounts: [account, { ...account, password: "plain-hidden" }],
        providers: [
          { ...relay, "smtp_config": { host: 7, password: "env:NOT_THERE" } },
          { ...quiet, "smtp_config": { colour: "red" } },
        ],
        "routing_rules": [
          { priority: 1, conditions: { subjekt: "x" }, providers: ["relay"] },
          { priority: 1, providers: ["relay", "relay"] },
        ],
      },
    ],
  };
  const { code, stderr, stdout } = await workshop.apply(bad);
  assert.deepEqual([code, stdout], [2, ""]);
  for (
    const expected of [
      /accounts: "orders@shop.example" is there 2 times/,
      /groups\.0\.accounts\.1\.password: a secret is named as env:NAME or file:PATH/,
      /groups\.0\.providers\.0\.smtp_config\.password: the variable NOT_THERE is not set/,
      /groups\.0\.providers\.1\.smtp_config\.colour: /,
      /groups\.0\.routing_rules: "1" is there 2 times/,
      /groups\.0\.routing_rules\.0\.conditions: .*subjekt/,
      /groups\.0\.routing_rules\.1\.providers: providers names one provider twice/,
    ]
  ) assert.match(stderr, expected);
  for (const text of ["groups: [", "groups: 7", "- a", '{"groups":[{"name":"\\ud800"}]}']) {
    assert.equal((await workshop.apply(text)).code, 2, text);
  }
  assert.equal(await workshop.picture(), before);
});

Deno.test("apply changes nothing of a group that something stands against, and tells what", async () => {
  await using workshop = await Workshop.open();
  await workshop.apply({ groups: [shop] });
  const before = await workshop.picture();
  const other = { name: "other", "allowed_domains": ["other.example"], providers: [quiet] };
  const cases = [
    [{ ...other, accounts: [account] }, /allowed_domains: the group may not use "shop.example"/],
    [{ ...other, accounts: [{ email: account.email }] }, /the address is somebody else's/],
    [{ ...other, "routing_rules": [{ priority: 1, providers: ["relay"] }] }, /there is no provider "relay"/],
    [
      {
        ...other,
        "routing_rules": [{
          priority: 1,
          conditions: { "smtp_account": account.email },
          providers: ["quiet"],
        }],
      },
      /there is no account "orders@shop.example"/,
    ],
  ] as const;
  for (const [group, expected] of cases) {
    const { code, stderr } = await workshop.apply({ groups: [group] });
    assert.equal(code, 1, stderr);
    assert.match(stderr, /^group other: /);
    assert.match(stderr, expected);
    assert.equal(await workshop.picture(), before);
  }
});

Deno.test("apply lets a provider use the operator's credentials where its settings say so, once", async () => {
  await using workshop = await Workshop.open();
  const ses = {
    name: "ses",
    "provider_type": "ses",
    "smtp_config": { region: "eu-west-1", credentials: "instance" },
  };
  const first = await workshop.apply({ groups: [{ name: "shop", providers: [ses] }] });
  assert.match(first.stdout, /provider ses: may use the operator's credentials$/m);
  assert.match(
    (await workshop.apply({ groups: [{ name: "shop", providers: [ses] }] })).stdout,
    /^nothing to change/,
  );
  const [row] = await workshop.owner.run("select operator_credentials as allowed from esp_providers");
  assert.equal(row?.["allowed"], true);
});

Deno.test("apply of one file by two at the same time makes everything once", async () => {
  await using workshop = await Workshop.open();
  const results = await Promise.all([1, 2].map(() => workshop.apply({ groups: [shop] })));
  const losers = results.filter(({ code }) => code !== 0);
  assert.ok(losers.length <= 1);
  for (const { code, stderr } of losers) {
    assert.equal(code, 1);
    assert.match(stderr, /^group shop: .*name.*; nothing of it was changed$/m);
  }
  assert.match((await workshop.apply({ groups: [shop] })).stdout, /^nothing to change/);
  const [made] = await workshop.owner.run(`select (select count(*)::int from groups) as groups,
    (select count(*)::int from users) as users, (select count(*)::int from esp_providers) as providers,
    (select count(*)::int from routing_rules) as rules`);
  assert.deepEqual(made, { groups: 1, users: 1, providers: 2, rules: 2 });
});

Deno.test("apply changes no group that was given another name while it waited for it", async () => {
  await using workshop = await Workshop.open();
  await workshop.apply({ groups: [{ name: "shop", "monthly_limit": 5 }] });
  await using other = await openSession({ url: workshop.database.ownerUrl });
  await other.run("begin; update groups set name = 'store' where name = 'shop'");
  const applied = workshop.apply({ groups: [{ name: "shop", "monthly_limit": 9 }] });
  const waiting =
    `select from pg_stat_activity where datname = current_database() and application_name = 'apply'
    and wait_event_type = 'Lock'`;
  await until("apply waits for the group", async () => (await workshop.owner.run(waiting)).length > 0);
  await other.run("commit");
  const { code, stderr } = await applied;
  assert.deepEqual([code, /renamed to store meanwhile/.test(stderr)], [1, true], stderr);
  const [group] = await workshop.owner.run("select name, monthly_limit as limit from groups");
  assert.deepEqual(group, { name: "store", limit: 5 });
});
