import type { GroupId, MessageId, UserId } from "../../lib/ids.ts";
import type { ClientTrace, Submission } from "../../lib/messages/message.ts";
import { type Cidr, cidrContains } from "../../lib/network/cidr.ts";
import type { Refusal } from "../../lib/refusal.ts";
import type { BodyLabel } from "../../lib/store/message_store.ts";
import type { BodyWriter } from "../../lib/store/spool.ts";
import type { Reply } from "./replies.ts";

/** What takes messages in: memory, store, rows and doorbell behind one door. */
export interface Intake {
  /** Throws a Refusal when nothing can be accepted now (queue down, disk full, this group's quota reached). */
  ready(identity: Identity): Promise<void> | void;
  /**
   * Memory for one body of the group's of at most so many bytes; waits at most a minute behind the group's own, then
   * Refusal("body_memory_full").
   */
  reserveMemory(maxSize: number, signal: AbortSignal, group: GroupId): Promise<Disposable>;
  /** Receives one body, which begins with what is added; write() answers a promise only when the caller must wait. */
  begin(label: BodyLabel, prefix: Uint8Array): BodyWriter;
  /** Durable when it resolves; throws Refusal. The id may be another's: a resubmission answers the first one's. */
  accept(submission: Submission): Promise<MessageId>;
}

/** Who authenticated, and the revision of their credentials at that moment. */
export interface Identity {
  readonly user: UserId;
  readonly group: GroupId;
  readonly username: string;
  /** Differs from the policy's as soon as a credential of the account has changed. */
  readonly revision: string;
}

/** What an account may send now, read anew for each message. */
export interface AccountPolicy {
  readonly revision: string;
  readonly isSuspended: boolean;
  /** Domains, `*.domain` or `*`; undefined when the stored list is corrupt, which allows none. */
  readonly allowedDomains: readonly string[] | undefined;
  /** The group's list, within which the account's must lie. */
  readonly groupDomains: readonly string[] | undefined;
  /** What becomes of bare CR and LF; refused unless the account says otherwise. */
  readonly lineEndings: "refuse" | "repair";
  /** The group's networks; empty lets every address in. */
  readonly allowedNetworks: readonly Cidr[];
  /** Thrown at MAIL: this month's limit was reached already. A hint that spares a body, for the insert decides. */
  readonly quotaReached?: Refusal;
}

/** Whether the networks let an address in; none at all let in every one. */
export function letsIn(networks: readonly Cidr[], address: string): boolean {
  return networks.length === 0 || networks.some((network) => cidrContains(network, address));
}

/** Who may come in and what they may do. */
export interface Gate {
  /** Throws Refusal: credentials_wrong, credentials_throttled or credentials_unavailable. */
  authenticate(username: string, password: string, address: string): Promise<Identity>;
  /** Undefined when the account is gone; throws Refusal("database_down") when that cannot be known. */
  policyOf(user: UserId): Promise<AccountPolicy | undefined>;
  /** The identity's credentials are no longer what they were: the next login verifies them anew. */
  forget(identity: Identity): void;
}

/** A client wanted to log in or to hand in mail and was refused: what is known of it, without any credential. */
export interface RefusedStep {
  /** A refusal's code, or the row of the protocol's own replies. */
  readonly reason: string;
  readonly reply: Reply;
  readonly text: string;
  /** The command, for MAIL and RCPT as it was given. */
  readonly command: string;
  /** Absent before AUTH has succeeded. */
  readonly identity: Identity | undefined;
  /** The name that AUTH was last tried with. */
  readonly tried: string | undefined;
  /** The envelope sender, where MAIL was accepted before. */
  readonly sender: string | undefined;
  readonly client: ClientTrace;
  readonly correlationId: string;
}

/** What is counted, as plain functions; none of them may throw. */
export interface Observer {
  connection(result: "accepted" | "rejected", reason?: string): void;
  session(change: "opened" | "closed"): void;
  login(result: "success" | "failure"): void;
  /** One reply of 4yz or 5yz; `reason` is a refusal code or a row of `protocolReplies`; a login or mail is told in full. */
  refused(reason: string, step?: RefusedStep): void;
  /** One 250 after DATA, with milliseconds from the end mark to the reply. */
  accepted(bytes: number, ms: number): void;
}
