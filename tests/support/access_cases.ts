import { issueApiKey } from "../../lib/api_keys/api_key.ts";
import { type GroupId, newId, type UserId } from "../../lib/ids.ts";
import { openSession, type Session } from "../../lib/postgres/database.ts";
import { addGroup, addPerson, type TestApi } from "./api.ts";

/** Everybody who may ask, besides a stranger and another tenant's owner. */
export const callers = [
  "system_owner",
  "system_admin",
  "system_member",
  "owner",
  "admin",
  "member",
  "full_key",
  "send_key",
] as const;

/** One of them. */
export type Caller = (typeof callers)[number];

/** Those who may, said by the tests themselves and not by the table that they check. */
export const who = {
  everybody: callers,
  people: ["system_owner", "system_admin", "system_member", "owner", "admin", "member"],
  readers: ["system_owner", "system_admin", "system_member", "owner", "admin", "member", "full_key"],
  admins: ["system_owner", "system_admin", "owner", "admin"],
  adminsAndKeys: ["system_owner", "system_admin", "owner", "admin", "full_key"],
  owners: ["system_owner", "system_admin", "owner"],
  operators: ["system_owner", "system_admin"],
  system: ["system_owner", "system_admin", "system_member"],
} as const satisfies Record<string, readonly Caller[]>;

/** What a case needs to make what it asks for: the tenant alpha, and the superuser. */
export interface World {
  readonly alpha: GroupId;
  readonly owner: Session;
  /** The group of the key holders' account, and that account. */
  readonly account: UserId;
}

/** One request, made anew for each caller. */
export interface AccessRequest {
  readonly path: string;
  readonly body?: unknown;
}

/** One operation of the document: who may, what is asked, what another tenant's owner is told. */
export interface AccessCase {
  readonly allowed: readonly Caller[] | "public";
  readonly make: (world: World) => Promise<AccessRequest> | AccessRequest;
  /** Statuses of those who may. */
  readonly answers: readonly number[];
  /** What beta's owner is told who asks for what is alpha's; `own` where the request names nothing of alpha's. */
  readonly foreign: readonly number[] | "own";
}

/** A user of alpha's, new. */
export async function newUser(world: World, type: "human" | "smtp" = "human"): Promise<UserId> {
  const id = newId<UserId>();
  const name = `u-${id}`;
  await world.owner.run(`begin;
    insert into users (id, email, username, account_type, password_hash)
      values ('${id}', '${name}@alpha.example', '${name}', '${type}', 'none');
    insert into group_members (group_id, user_id, account_type) values ('${world.alpha}', '${id}', '${type}');
    commit`);
  return id;
}

const anyEmail = () => `${newId<never>() as string}@alpha.example`;
const base = "/api/v1";

/** The operations of users, groups and what belongs to them; other resources have their own files beside this one. */
export const coreCases: Readonly<Record<string, AccessCase>> = {
  "POST /api/v1/auth/login": {
    allowed: "public",
    make: () => ({ path: `${base}/auth/login`, body: { email: anyEmail(), password: "x" } }),
    answers: [401, 429],
    foreign: "own",
  },
  "POST /api/v1/auth/refresh": {
    allowed: "public",
    make: () => ({ path: `${base}/auth/refresh`, body: { "refresh_token": "x" } }),
    answers: [401],
    foreign: "own",
  },
  "POST /api/v1/auth/logout": {
    allowed: "public",
    make: () => ({ path: `${base}/auth/logout`, body: { "refresh_token": "x" } }),
    answers: [204],
    foreign: "own",
  },
  "POST /api/v1/auth/switch-group": {
    allowed: who.people,
    make: ({ alpha }) => ({ path: `${base}/auth/switch-group`, body: { "group_id": alpha } }),
    answers: [200, 403], // 403 not_a_member: operators name a group by a header instead
    foreign: [403],
  },
  "GET /api/v1/auth/me": {
    allowed: who.readers,
    make: () => ({ path: `${base}/auth/me` }),
    answers: [200],
    foreign: "own",
  },
  "PUT /api/v1/auth/password": {
    allowed: who.people,
    make: () => ({
      path: `${base}/auth/password`,
      body: { "current_password": "wrong", "new_password": "long enough" },
    }),
    answers: [400],
    foreign: "own",
  },
  "POST /api/v1/groups": {
    allowed: who.operators,
    make: () => ({ path: `${base}/groups`, body: { name: `g-${newId<never>() as string}` } }),
    answers: [201],
    foreign: [403],
  },
  "GET /api/v1/groups": {
    allowed: who.system,
    make: () => ({ path: `${base}/groups` }),
    answers: [200],
    foreign: [403],
  },
  "GET /api/v1/groups/{id}": {
    allowed: who.people,
    make: ({ alpha }) => ({ path: `${base}/groups/${alpha}` }),
    answers: [200],
    foreign: [404],
  },
  "PATCH /api/v1/groups/{id}": {
    allowed: who.owners,
    make: ({ alpha }) => ({ path: `${base}/groups/${alpha}`, body: { "allowed_ips": null } }),
    answers: [200],
    foreign: [404],
  },
  "DELETE /api/v1/groups/{id}": {
    allowed: who.operators,
    make: async ({ owner }) => {
      const id = newId<never>() as string;
      await owner.run(`insert into groups (id, name) values ('${id}', 'g-${id}')`);
      return { path: `${base}/groups/${id}` };
    },
    answers: [204],
    foreign: [403],
  },
  "GET /api/v1/groups/{id}/members": {
    allowed: who.people,
    make: ({ alpha }) => ({ path: `${base}/groups/${alpha}/members` }),
    answers: [200],
    foreign: [404],
  },
  "POST /api/v1/groups/{id}/members": {
    allowed: who.owners,
    make: async (world) => ({
      path: `${base}/groups/${world.alpha}/members`,
      body: { "user_id": await newUser(world) },
    }),
    answers: [409],
    foreign: [404],
  },
  "PATCH /api/v1/groups/{id}/members/{uid}": {
    allowed: who.owners,
    make: async (world) => ({
      path: `${base}/groups/${world.alpha}/members/${await newUser(world)}`,
      body: { role: "admin" },
    }),
    answers: [200],
    foreign: [404],
  },
  "DELETE /api/v1/groups/{id}/members/{uid}": {
    allowed: who.owners,
    make: async (world) => ({ path: `${base}/groups/${world.alpha}/members/${await newUser(world)}` }),
    answers: [204],
    foreign: [404],
  },
  "GET /api/v1/groups/{id}/activity": {
    allowed: who.readers,
    make: ({ alpha }) => ({ path: `${base}/groups/${alpha}/activity` }),
    answers: [200],
    foreign: [404],
  },
  "GET /api/v1/activity": {
    allowed: who.system,
    make: () => ({ path: `${base}/activity?limit=2` }),
    answers: [200],
    foreign: [403],
  },
  "POST /api/v1/users": {
    allowed: who.admins,
    make: ({ alpha }) => ({
      path: `${base}/users`,
      body: { email: anyEmail(), "account_type": "smtp", "group_id": alpha },
    }),
    answers: [201],
    foreign: [403],
  },
  "GET /api/v1/users": {
    allowed: who.people,
    make: () => ({ path: `${base}/users` }),
    answers: [200],
    foreign: "own",
  },
  "GET /api/v1/users/{id}": {
    allowed: who.people,
    make: async (world) => ({ path: `${base}/users/${await newUser(world)}` }),
    answers: [200],
    foreign: [404],
  },
  "PATCH /api/v1/users/{id}": {
    allowed: who.admins,
    make: async (world) => ({ path: `${base}/users/${await newUser(world)}`, body: { email: anyEmail() } }),
    answers: [200],
    foreign: [404],
  },
  "PATCH /api/v1/users/{id}/status": {
    allowed: who.admins,
    make: async (world) => ({
      path: `${base}/users/${await newUser(world)}/status`,
      body: { status: "suspended" },
    }),
    answers: [200],
    foreign: [404],
  },
  "DELETE /api/v1/users/{id}": {
    allowed: who.admins,
    make: async (world) => ({ path: `${base}/users/${await newUser(world)}` }),
    answers: [204],
    foreign: [404],
  },
  "POST /api/v1/groups/{id}/invitations": {
    allowed: who.owners,
    make: ({ alpha }) => ({ path: `${base}/groups/${alpha}/invitations`, body: { email: anyEmail() } }),
    answers: [201],
    foreign: [404],
  },
  "GET /api/v1/groups/{id}/invitations": {
    allowed: who.people,
    make: ({ alpha }) => ({ path: `${base}/groups/${alpha}/invitations` }),
    answers: [200],
    foreign: [404],
  },
  "DELETE /api/v1/groups/{id}/invitations/{invitation}": {
    allowed: who.owners,
    make: async ({ alpha, owner }) => {
      const id = newId<never>() as string;
      await owner.run(`insert into one_time_tokens (id, group_id, kind, email, role, token_hash, expires_at)
        values ('${id}', '${alpha}', 'invitation', '${anyEmail()}', 'member', sha256('${id}'), now() + interval '1 day')`);
      return { path: `${base}/groups/${alpha}/invitations/${id}` };
    },
    answers: [204],
    foreign: [404],
  },
  "POST /api/v1/auth/accept-invitation": {
    allowed: who.people,
    make: () => ({ path: `${base}/auth/accept-invitation`, body: { token: "x" } }),
    answers: [400],
    foreign: "own",
  },
  "POST /api/v1/users/{id}/password-reset": {
    allowed: who.admins,
    make: async (world) => ({ path: `${base}/users/${await newUser(world)}/password-reset` }),
    answers: [201],
    foreign: [404],
  },
  "POST /api/v1/auth/reset-password": {
    allowed: "public",
    make: () => ({
      path: `${base}/auth/reset-password`,
      body: { token: "x", "new_password": "long enough" },
    }),
    answers: [400],
    foreign: "own",
  },
  "POST /api/v1/users/{id}/api-keys": {
    allowed: who.admins,
    make: async (world) => ({
      path: `${base}/users/${await newUser(world, "smtp")}/api-keys`,
      body: { name: "second" },
    }),
    answers: [201],
    foreign: [404],
  },
  "GET /api/v1/users/{id}/api-keys": {
    allowed: who.people,
    make: ({ account }) => ({ path: `${base}/users/${account}/api-keys` }),
    answers: [200],
    foreign: [404],
  },
  "DELETE /api/v1/users/{id}/api-keys/{key}": {
    allowed: who.admins,
    make: async (world) => {
      const [user, key] = [await newUser(world, "smtp"), newId<never>() as string];
      await world.owner.run(`insert into api_keys (id, group_id, user_id, name, prefix, key_hash)
        values ('${key}', '${world.alpha}', '${user}', 'k', 'prefix', sha256('${key}'))`);
      return { path: `${base}/users/${user}/api-keys/${key}` };
    },
    answers: [204],
    foreign: [404],
  },
  "GET /api/v1/sessions": {
    allowed: who.people,
    make: () => ({ path: `${base}/sessions` }),
    answers: [200],
    foreign: "own",
  },
  "DELETE /api/v1/sessions/{id}": {
    allowed: who.people,
    make: async (world) => {
      const [user, id] = [await newUser(world), newId<never>() as string];
      await world.owner.run(`insert into sessions (id, group_id, user_id, refresh_token_hash, expires_at)
        values ('${id}', '${world.alpha}', '${user}', sha256('${id}'), now() + interval '1 day')`);
      return { path: `${base}/sessions/${id}` };
    },
    answers: [204, 404], // members end their own sessions alone
    foreign: [404],
  },
};

/** Two tenants and the operator's group, with everybody's token; operators' requests name alpha. */
export async function accessWorld(api: TestApi) {
  const alpha = await addGroup(api, "alpha");
  const beta = await addGroup(api, "beta");
  const system = await addGroup(api, "system", "system");
  const tokens: Partial<Record<Caller, string>> = {};
  for (const role of ["owner", "admin", "member"] as const) {
    await addPerson(api, `${role}@alpha.example`, [[alpha, role]]);
    await addPerson(api, `system-${role}@operator.example`, [[system, role]]);
    tokens[role] = await api.login(`${role}@alpha.example`);
    tokens[`system_${role}`] = await api.login(`system-${role}@operator.example`);
  }
  await addPerson(api, "second-owner@alpha.example", [[alpha, "owner"]]);
  await addPerson(api, "owner@beta.example", [[beta, "owner"]]);
  const foreign = await api.login("owner@beta.example");
  const owner = await openSession({ url: api.database.ownerUrl });
  const account = await newUser({ alpha, owner, account: "" as UserId }, "smtp");
  for (const [name, scopes] of [["full_key", fullScopes], ["send_key", ["send"]]] as const) {
    const { key, hash } = await issueApiKey();
    await owner.query(
      `insert into api_keys (group_id, user_id, name, prefix, key_hash, scopes)
       values ($1, $2, $3, 'prefix', $4, $5)`,
      [alpha, account, name, hash, scopes],
    );
    tokens[name] = key;
  }
  const world: World = { alpha, owner, account };
  return {
    world,
    beta,
    foreign,
    tokens: tokens as Readonly<Record<Caller, string>>,
    [Symbol.asyncDispose]: () => owner[Symbol.asyncDispose](),
  };
}

const fullScopes = [
  "send",
  "self:read",
  "activity:read",
  "messages:read",
  "messages:write",
  "bodies:read",
  "dlq:read",
  "dlq:write",
  "suppressions:read",
  "suppressions:write",
  "statistics:read",
];
