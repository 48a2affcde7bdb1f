import { replyClass } from "../smtp/reply.ts";
import type { Reply } from "../smtp/reply.ts";
import { withoutAddresses } from "./http_outcome.ts";
import type { WaitCause } from "./outcome.ts";

/** Where in a conversation a reply came. */
export type Stage = "auth" | "mail" | "rcpt" | "data" | "answer";

/** Texts that say the same of everybody's mail, or of this sender's, wherever they come. */
const quotaTexts: readonly RegExp[] = [
  /SubmissionQuotaExceeded/i,
  /\b(daily|hourly|monthly|24.hour)\b.{0,30}\b(sending|relay|submission|message|recipients?)\b.{0,30}\b(limit|quota)/i,
  /reached your (daily|hourly|monthly) limit/i,
  /\b(sending|messaging|submission) (limits?|quota) (was |were |is |has been )?(exceeded|reached)/i,
  /exceeded your (messaging|sending|daily|hourly|monthly)\b/i,
  /credits exceeded/i,
];
const senderTexts: readonly RegExp[] = [
  /send ?as ?denied/i,
  /\bto send (as this sender|on behalf of|from (that|this) (e-?mail )?address)/i,
  /does not match a verified sender/i,
  /sender address rejected: not owned by/i,
  /unconfigured sending domain/i,
  /not authori[sz]ed to perform:? .{0,3}ses:send/i,
  // A test domain sends to those alone who are on its list.
  /authori[sz]ed recipients?\b/i,
];
/** Not at RCPT, where much the same is said of one recipient's domain or mailbox. */
const unverifiedTexts = /(address|domain|identity|sender)\b.{0,40} (is )?not (been )?verified/i;
const credentialTexts: readonly RegExp[] = [
  /unauthenticated senders? not allowed/i,
  /invalid credentials for relay/i,
  /client was not authenticated/i,
];
const accountTexts: readonly RegExp[] = [
  /\bdomain\b.{0,80}\bis not allowed to send:/i,
  /\bfree accounts? (are|is) for test/i,
  /sandbox subdomains? (are|is) for test/i,
  /\byour\b.{0,30}\baccount\b.{0,40}\b(suspended|disabled|paused|deactivated|locked|not (yet )?(been )?activated)/i,
  /\bactivate your\b.{0,30}\baccount/i,
  /sending (is |was |has been )?(paused|suspended|disabled)/i,
  /tenant has exceeded threshold/i,
  /unauthori[sz]ed IP address/i,
];

/** What a reply other than 2yz waits for where that is neither the message's nor a recipient's fault. */
export function waitCauseOf(reply: Reply, stage: Stage): WaitCause | undefined {
  const { enhanced = "", code } = reply;
  const text = withoutAddresses(reply.lines.join(" "));
  const says = (texts: readonly RegExp[]) => texts.some((one) => one.test(text));
  const isOfRecipient = stage === "rcpt";
  if (replyClass(reply) === 5) {
    if ([530, 534, 535, 538].includes(code) || enhanced === "5.7.8" || says(credentialTexts)) {
      return "credentials";
    }
    if (["5.1.8", "5.7.60", "5.2.252"].includes(enhanced)) return "sender";
  }
  // A full mailbox is the recipient's.
  if (!enhanced.endsWith(".2.2") && says(quotaTexts)) return "throttled";
  if (says(senderTexts) || (!isOfRecipient && unverifiedTexts.test(text))) return "sender";
  return !isOfRecipient && says(accountTexts) ? "configuration" : undefined;
}
