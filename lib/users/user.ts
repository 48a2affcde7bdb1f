import type { UserId } from "../ids.ts";

/** A human logs in to the API and the console, an SMTP account submits mail. */
export type AccountType = "human" | "smtp";

/** Only an active user may do anything. */
export type UserStatus = "active" | "suspended" | "deleted";

/** Who may log in; never with the password. */
export interface User {
  readonly id: UserId;
  /** Unique among all users, without regard to case. */
  readonly email: string;
  /** What an SMTP account logs in with; unique among all users, without regard to case. */
  readonly username?: string;
  readonly accountType: AccountType;
  readonly status: UserStatus;
  /** Sender domains of an SMTP account: exact, `*.example.com` or `*`; none allows nothing. */
  readonly allowedDomains: readonly string[];
}
