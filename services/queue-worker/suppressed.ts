import type { RecipientChange } from "../../lib/messages/outcomes_table.ts";
import { type Delivery, settle } from "./delivery.ts";

/**
 * The delivery without the recipients that its group does not send to; those are settled before anybody is called.
 * Groups that never suppressed an address are not asked for any.
 */
export async function withoutSuppressed(delivery: Delivery): Promise<Delivery> {
  const { claim, crew } = delivery;
  const { message } = claim;
  if (!claim.hasSuppressions || message.recipients.length === 0) return delivery;
  const addresses = message.recipients.map(({ address }) => address);
  const reasons = await crew.records.findSuppressed({ group: message.group, addresses }, crew.stopped);
  if (reasons.size === 0) return delivery;
  const changes = message.recipients.flatMap(({ id, address }): readonly RecipientChange[] => {
    const reason = reasons.get(address);
    if (reason === undefined) return [];
    const detail = `The address is on the group's list of suppressions: ${reason}`;
    return [{
      recipient: id,
      status: "suppressed",
      attemptSpent: false,
      fault: { code: "suppressed", detail },
    }];
  });
  await settle(delivery, { then: "go on", changes });
  crew.metrics.worker.suppressed.add(changes.length);
  const { id: messageId, correlationId, group } = message;
  crew.log.info("recipients suppressed", { messageId, correlationId, group, count: changes.length });
  const recipients = message.recipients.filter(({ address }) => !reasons.has(address));
  return { ...delivery, claim: { ...claim, message: { ...message, recipients } } };
}
