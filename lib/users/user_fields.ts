import { z } from "zod";

/** A password that is to be set. */
export const newPassword = z.string({ error: "password must be a text" })
  .min(8, "password must have at least 8 characters").max(1024, "password must have at most 1024 characters");

/** An e-mail address, loosely: something before and behind one `@`, without spaces. */
export const email = z.string({ error: "email is required" }).trim().min(1, "email is required").max(255)
  .regex(/^[^\s@<>"]+@[^\s@<>"]+$/, "email must be an e-mail address");

/** What an account logs in with besides its address. */
export const username = z.string().trim().min(1).max(255);

/** A sender domain of an account: exact, `*.example.com` for what is below it, or `*`; stored in lower case. */
export const domainPattern = z.string().trim().toLowerCase().max(255).regex(
  /^(\*|(\*\.)?([a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9])?\.)*[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)$/,
  "a domain is written as example.com, *.example.com or *",
);

/** The sender domains of an account or a group. */
export const senderDomains = z.array(domainPattern).max(1000);

/** Whether an account or a group may do anything; deleting is another request. */
export const activeOrSuspended = z.enum(["active", "suspended"], {
  error: "status must be one of: active, suspended",
});
