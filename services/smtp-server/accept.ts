import type { MessageId } from "../../lib/ids.ts";
import type { Submission } from "../../lib/messages/message.ts";
import type { Enqueue } from "./enqueue.ts";
import type { RecordMessage } from "./record_message.ts";
import type { StoreBody } from "./store_body.ts";
import { type Resubmissions, submissionHash } from "./resubmissions.ts";

/** The three durable steps of taking a message, and what is known of submissions on their way. */
export interface AcceptParts {
  readonly storeBody: StoreBody;
  readonly record: RecordMessage;
  readonly enqueue: Enqueue;
  readonly resubmissions: Resubmissions;
}

/**
 * Takes a message: when it resolves, body and row are on disk and the doorbell has rung. Answers the id the client is
 * told, which is an earlier one when the same submission came before (ruling 3.3). Throws a Refusal otherwise.
 */
export async function accept(submission: Submission, parts: AcceptParts): Promise<MessageId> {
  const hash = parts.resubmissions.isOn ? submissionHash(submission) : undefined;
  return await parts.resubmissions.once(hash, async () => {
    const stored = await parts.storeBody(submission); // "inline" when the store is unreachable
    const recorded = await parts.record({ submission, ...stored, ...(hash && { submissionHash: hash }) });
    const bell = { message: recorded.id, group: submission.group };
    if (recorded.needsBell) await parts.enqueue(bell, recorded.attempt);
    return recorded.id; // the listener answers 250 2.0.0 Ok: queued as <id>
  });
}
