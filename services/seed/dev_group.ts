import { findGroupByName, insertGroup } from "../../lib/groups/groups_table.ts";
import { insertMember } from "../../lib/groups/members_table.ts";
import { type GroupId, newId, type ProviderId, type UserId } from "../../lib/ids.ts";
import type { Database } from "../../lib/postgres/database.ts";
import { usesOperatorCredentials } from "../../lib/providers/operator_credentials.ts";
import {
  allowOperatorCredentials,
  findProviderByName,
  listProviders,
  putProvider,
} from "../../lib/providers/providers_table.ts";
import { parseKeys, providerOwner, seal } from "../../lib/secrets/seal.ts";
import { hashPassword } from "../../lib/users/password.ts";
import { findUserByEmail, insertUser } from "../../lib/users/users_table.ts";
import type { ProviderRequest } from "./provider_request.ts";

/** What everybody may know, so that a first mail can be sent (ruling 1.2). */
export const devGroup = {
  name: "dev-company",
  email: "dev@smtp.internal",
  username: "dev",
  password: "dev",
  allowedDomains: ["example.com"],
} as const;

/** Creates the dev group and its SMTP account where they are missing; what exists stays as it is. */
export async function ensureDevGroup(database: Database): Promise<GroupId> {
  await insertGroup(database.system, {
    id: newId<GroupId>(),
    name: devGroup.name,
    groupType: "company",
    status: "active",
    monthlyLimit: 0,
    allowedDomains: devGroup.allowedDomains,
  });
  const group = await findGroupByName(database.system, devGroup.name);
  if (group === undefined) throw new Error(`Cannot seed: the group ${devGroup.name} went away`);
  if (await findUserByEmail(database.system, devGroup.email) === undefined) {
    await createAccount(database, group.id);
  }
  return group.id;
}

async function createAccount(database: Database, group: GroupId): Promise<void> {
  const hash = await hashPassword(devGroup.password);
  await database.transaction(async (sql) => {
    const user = {
      id: newId<UserId>(),
      email: devGroup.email,
      username: devGroup.username,
      accountType: "smtp",
      status: "active",
      allowedDomains: devGroup.allowedDomains,
    } as const;
    if (!(await insertUser(sql, user, hash))) {
      throw new Error(`Cannot seed: the user name ${devGroup.username} belongs to another account`);
    }
    await insertMember(sql, { group, user: user.id, accountType: "smtp", role: "member" });
  });
}

/** Creates the group's provider, or replaces the one of the same name, or else its oldest one; answers its id. */
export async function putOnlyProvider(
  database: Database,
  group: GroupId,
  request: ProviderRequest,
  keys: string,
): Promise<ProviderId> {
  return await database.forGroup(group, async (sql) => {
    const id = await findProviderByName(sql, group, request.name) ??
      (await listProviders(sql, group)).providers[0]?.id ?? newId<ProviderId>();
    const sealed = await sealSecrets(request.secrets, providerOwner(group, id), keys);
    const { name, providerType, settings, enabled } = request;
    await putProvider(sql, { id, groupId: group, name, providerType, settings, enabled, ...sealed });
    return id;
  });
}

/** Whoever runs `seed` is the operator, so the provider may use the operator's credentials where its settings say so. */
export async function allowItsCredentials(admin: Database, provider: ProviderId, request: ProviderRequest) {
  if (!usesOperatorCredentials(request.settings)) return;
  await allowOperatorCredentials(admin.system, provider, true);
}

async function sealSecrets(secrets: Readonly<Record<string, unknown>>, owner: string, keyText: string) {
  if (Object.keys(secrets).length === 0) return { secrets: null, keyId: null };
  const keys = await parseKeys(keyText);
  if (keys === undefined) throw new Error("Cannot keep the provider's secrets: secrets.keys is not set");
  const { bytes, keyId } = await seal(JSON.stringify(secrets), owner, keys);
  return { secrets: bytes, keyId };
}
