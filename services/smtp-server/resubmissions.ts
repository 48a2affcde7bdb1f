import { createHash } from "node:crypto";
import { KeyedCrowd } from "../../lib/crowd.ts";
import type { MessageId } from "../../lib/ids.ts";
import type { Submission } from "../../lib/messages/message.ts";

/**
 * What makes two submissions the same: account, envelope, the client's own Message-ID and content (ruling 3.3).
 * Undefined without a Message-ID: two alarms of the same words are two messages.
 */
export function submissionHash(submission: Submission): Uint8Array | undefined {
  if (submission.headers.messageId === undefined) return undefined;
  const parts = [
    submission.user,
    submission.mailFrom,
    submission.recipients.map((recipient) => recipient.address).sort(),
    submission.headers.messageId,
    submission.contentHash.toHex(),
  ];
  return createHash("sha256").update(JSON.stringify(parts)).digest();
}

/** Submissions of this process that have no answer yet; the database knows those that have. */
export class Resubmissions {
  readonly isOn: boolean;
  readonly #underWay = new KeyedCrowd<string, Promise<MessageId>>((hex) =>
    Number.parseInt(hex.slice(0, 2), 16)
  );

  constructor(windowMs: number) {
    this.isOn = windowMs > 0;
  }

  /** Runs `work`, unless the same submission is under way: then its id is the answer, or `work` runs after its failure. */
  async once(hash: Uint8Array | undefined, work: () => Promise<MessageId>): Promise<MessageId> {
    if (hash === undefined) return await work();
    const key = hash.toHex();
    for (let first = this.#underWay.get(key); first !== undefined; first = this.#underWay.get(key)) {
      const id = await first.catch(() => undefined); // its own session is told
      if (id !== undefined) return id;
    }
    const running = work();
    this.#underWay.enter(key, running);
    try {
      return await running;
    } finally {
      this.#underWay.leave(key);
    }
  }
}
