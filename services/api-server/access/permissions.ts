/** What a person is in the group of the session: three ranks in the operator's group, three in any other. */
export type Grade = "system_owner" | "system_admin" | "system_member" | "owner" | "admin" | "member";

const operators = ["system_owner", "system_admin"] as const;
const readers = [...operators, "system_member", "owner", "admin", "member"] as const;
const admins = [...operators, "owner", "admin"] as const;
const owners = [...operators, "owner"] as const;

/** Who may do it by grade; `scope` says that an API key with the scope of this name may do it too. */
interface Permission {
  readonly grades: readonly Grade[];
  readonly scope?: true;
}

/**
 * The one table of who may do what. Every route names one of these actions; an action by a company's grade is for
 * the group of the session alone, and by a system grade for any group that is named.
 */
export const permissions = {
  // oneself
  "self:read": { grades: readers, scope: true },
  "self:write": { grades: readers },
  // groups and who is in them
  "groups:manage": { grades: operators },
  "groups:list": { grades: [...operators, "system_member"] },
  "groups:read": { grades: readers },
  "groups:write": { grades: owners },
  "members:read": { grades: readers },
  "members:write": { grades: owners },
  "users:read": { grades: readers },
  "users:write": { grades: admins },
  "keys:read": { grades: readers },
  "keys:write": { grades: admins },
  "sessions:read": { grades: readers },
  "sessions:write": { grades: readers },
  "activity:read": { grades: readers, scope: true },
  "activity:list": { grades: [...operators, "system_member"] },
  // sending
  "providers:read": { grades: readers },
  "providers:write": { grades: admins },
  "rules:read": { grades: readers },
  "rules:write": { grades: admins },
  // mail
  "messages:read": { grades: readers, scope: true },
  "messages:write": { grades: admins, scope: true },
  "bodies:read": { grades: admins, scope: true },
  "dlq:read": { grades: readers, scope: true },
  "dlq:write": { grades: admins, scope: true },
  "suppressions:read": { grades: readers, scope: true },
  "suppressions:write": { grades: admins, scope: true },
  "statistics:read": { grades: readers, scope: true },
} as const satisfies Record<string, Permission>;

/** What a route does, as the table names it. */
export type Action = keyof typeof permissions;

/** Every action. */
export const actions = Object.keys(permissions) as readonly Action[];

/** What an API key may be allowed: to submit mail by SMTP, and the actions that the table marks. */
export type Scope = "send" | ScopeAction;
type ScopeAction = {
  [Name in Action]: (typeof permissions)[Name] extends { readonly scope: true } ? Name : never;
}[Action];

/** Every scope. */
export const scopes = [
  "send",
  ...actions.filter((action) => isScope(action)),
] as unknown as readonly [Scope, ...Scope[]];

/** Whether a key may be given an action. */
export function isScope(action: Action): boolean {
  return (permissions[action] as Permission).scope === true;
}

/** Whether a grade may do something. */
export function gradeMay(grade: Grade, action: Action): boolean {
  return (permissions[action].grades as readonly Grade[]).includes(grade);
}

/** The grade of a role in a group of a type. */
export function gradeOf(groupType: "system" | "company", role: "owner" | "admin" | "member"): Grade {
  return groupType === "system" ? `system_${role}` : role;
}
