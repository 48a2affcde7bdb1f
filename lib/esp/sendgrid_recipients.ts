import type { Recipient } from "../messages/message.ts";
import type { NamedMailbox } from "../mime/mailboxes.ts";
import { sameAddress } from "../mime/recipient_fields.ts";

/** An address as SendGrid's API takes it. */
export interface SendgridAddress {
  readonly email: string;
  readonly name?: string;
}

/** One mail to some recipients, who see all that stands in `to` and `cc`. */
export interface Personalization {
  readonly to: readonly SendgridAddress[];
  readonly cc?: readonly SendgridAddress[];
  readonly bcc?: readonly SendgridAddress[];
}

/**
 * Who is told of whom. SendGrid knows no envelope: its lists are both whom it sends to and what its To and Cc fields
 * say. So the header's To and Cc are cut to the recipients, all others are blind copies of that mail. A mail needs a
 * `to`: without one Cc takes its place, and where nobody at all may be seen each recipient gets a mail of his own.
 */
export function planPersonalizations(
  recipients: readonly Recipient[],
  to: readonly NamedMailbox[],
  cc: readonly NamedMailbox[],
): readonly Personalization[] {
  // SendGrid takes no address twice, and does not tell upper from lower case.
  const rest = new Map(recipients.map(({ address }) => [sameAddress(address), address]));
  const take = (mailboxes: readonly NamedMailbox[]) =>
    mailboxes.flatMap(({ address, name }): SendgridAddress[] => {
      const email = rest.get(sameAddress(address));
      if (email === undefined) return [];
      rest.delete(sameAddress(address));
      return [name === undefined ? { email } : { email, name }];
    });
  const shownTo = take(to);
  const shownCc = take(cc);
  const blind = [...rest.values()].map((email) => ({ email }));
  if (shownTo.length + shownCc.length === 0) return blind.map((address) => ({ to: [address] }));
  return [{
    to: shownTo.length > 0 ? shownTo : shownCc,
    ...(shownTo.length > 0 && shownCc.length > 0 ? { cc: shownCc } : {}),
    ...(blind.length > 0 ? { bcc: blind } : {}),
  }];
}

/** The address that a field of an error names, e.g. `personalizations.0.to.1.email`. */
export function addressAt(field: string, plan: readonly Personalization[]): string | undefined {
  const found = /^personalizations[.[](\d+)\]?\.(to|cc|bcc)[.[](\d+)\]?(\.|$)/.exec(field);
  const list = plan[Number(found?.[1])]?.[found?.[2] as "to" | "cc" | "bcc"];
  return list?.[Number(found?.[3])]?.email;
}
