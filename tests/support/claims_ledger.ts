import assert from "node:assert/strict";
import type { CallId, MessageId, RecipientId } from "../../lib/ids.ts";
import type { Claim } from "../../lib/messages/claims_table.ts";
import type { Outcome } from "./claims_steps.ts";

/** One call that the service was asked to make, and what it did, whether or not anybody heard of it. */
export interface MadeCall {
  readonly call: CallId;
  readonly message: MessageId;
  readonly claim: number;
  readonly outcomes: ReadonlyMap<RecipientId, Outcome>;
  /** Written down with its outcomes, or as one whose end nobody knows. */
  end?: "settled" | "unknown";
}

/** What whoever submitted a message was told. */
export interface Told {
  readonly key: number | undefined;
  isAccepted: boolean;
}

/** What clients were told, what workers did and what the service made of it, apart from any table. */
export class ClaimsLedger {
  readonly told = new Map<MessageId, Told>();
  readonly calls: MadeCall[] = [];
  /** Attempts spent by each recipient, `message position`. */
  readonly spent = new Map<string, number>();
  /** Claims whose lease may have been over at some time. */
  readonly expired = new Set<number>();
  /** Claims that were ended by whoever held them. */
  readonly ended = new Set<number>();
  readonly claims: Claim[] = [];
  /** What is noted when the steps that are under way have ended. */
  #later: (() => void)[] = [];

  /** Has something noted, or checked, when all steps that are under way have ended. */
  afterwards(note: () => void): void {
    this.#later.push(note);
  }

  /** Notes it now. */
  note(): void {
    for (const note of this.#later) note();
    this.#later = [];
  }

  /** Of two claims of a message the earlier had ended, or its lease was over. */
  checkAlone({ number, message }: Claim): void {
    for (const { number: other, message: { id } } of this.claims) {
      if (id !== message.id || other >= number) continue;
      assert.ok(this.ended.has(other) || this.expired.has(other), `claim ${number} was made over ${other}`);
    }
  }

  /** An attempt for a recipient was written down. */
  spend(message: MessageId, recipient: RecipientId): void {
    const key = `${message} ${recipient}`;
    this.spent.set(key, (this.spent.get(key) ?? 0) + 1);
  }

  /** Whoever was not served begins anew. */
  forgetSpent(id: MessageId): void {
    for (const key of this.spent.keys()) {
      if (key.startsWith(id) && !this.isServed(key)) this.spent.delete(key);
    }
  }

  /** Whether a recipient, `message position`, is known to have been accepted. */
  isServed(key: string): boolean {
    return this.calls.some(({ message, outcomes, end }) =>
      end === "settled" &&
      [...outcomes].some(([id, outcome]) => outcome === "accepted" && key === `${message} ${id}`)
    );
  }
}
