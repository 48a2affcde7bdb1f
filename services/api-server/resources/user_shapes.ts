import { z } from "@hono/zod-openapi";
import type { UserEntry } from "../../../lib/users/user_entries_table.ts";
import { timeOf } from "../schemas.ts";

/** What kind of user; `user` is the old word for `human`. */
export const accountType = z.enum(["human", "user", "smtp"], {
  error: "account_type must be one of: user, smtp",
}).transform((type) => type === "user" ? "human" : type);

const answeredType = z.enum(["human", "smtp"]);

/** A user as answered. */
export const userShape = z.object({
  id: z.string(),
  email: z.string(),
  username: z.string().optional(),
  "account_type": answeredType,
  status: z.enum(["active", "suspended", "deleted"]),
  "allowed_domains": z.array(z.string()).optional(),
  "last_login": z.string().optional(),
  "created_at": z.string(),
  "updated_at": z.string(),
}).openapi("User");

/** A user as answered when it was created. */
export const createdUserShape = userShape.extend({
  "api_key": z.string().optional().meta({ description: "Of an SMTP account; shown this once" }),
}).openapi("CreatedUser");

/** A row as answered. */
export function userOf(user: UserEntry): z.output<typeof userShape> {
  return {
    id: user.id,
    email: user.email,
    ...(user.username === null ? {} : { username: user.username }),
    "account_type": user.accountType,
    status: user.status,
    ...(user.accountType === "smtp" ? { "allowed_domains": [...user.allowedDomains] } : {}),
    ...(user.lastLogin === null ? {} : { "last_login": timeOf(user.lastLogin) }),
    "created_at": timeOf(user.createdAt),
    "updated_at": timeOf(user.updatedAt),
  };
}
