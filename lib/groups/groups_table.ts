import type { GroupId } from "../ids.ts";
import type { SystemSql } from "../postgres/sql.ts";
import type { Group } from "./group.ts";

/** The group of a name, whatever its status. */
export async function findGroupByName(sql: SystemSql, name: string): Promise<Group | undefined> {
  const [group] = await sql<Group>`
    select id, name, group_type, status, monthly_limit, allowed_domains from groups where name = ${name}`;
  return group;
}

/** The operator's own group, once it was created. */
export async function findSystemGroup(sql: SystemSql): Promise<Group | undefined> {
  const [group] = await sql<Group>`
    select id, name, group_type, status, monthly_limit, allowed_domains from groups where group_type = 'system'`;
  return group;
}

/** Creates a group unless its name, or the place of the system group, is taken; answers whether it did. */
export async function insertGroup(sql: SystemSql, group: Group): Promise<boolean> {
  const rows = await sql<{ id: GroupId }>`
    insert into groups (id, name, group_type, status, monthly_limit, allowed_domains)
    values (${group.id}, ${group.name}, ${group.groupType}, ${group.status}, ${group.monthlyLimit},
      ${JSON.stringify(group.allowedDomains)}::jsonb)
    on conflict do nothing returning id`;
  return rows.length === 1;
}
