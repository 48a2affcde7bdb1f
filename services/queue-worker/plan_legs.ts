import { scanMessage } from "../../lib/mime/message_scan.ts";
import type { Message, Recipient } from "../../lib/messages/message.ts";
import { headerFacts, type MessageFacts } from "../../lib/routing/message_facts.ts";
import { type Leg, planRoute, type Routing } from "../../lib/routing/route.ts";
import type { Body } from "../../lib/store/body.ts";
import type { OpenProvider } from "./open_providers.ts";

/** Some recipients of a message with the providers to try for them. */
export type DeliveryLeg = Leg<OpenProvider, Recipient>;

/** The ways of a message's recipients, where the group's rules need not look into it; undefined where they have to. */
export function planByEnvelope(
  routing: Routing<OpenProvider>,
  message: Message,
): readonly DeliveryLeg[] | undefined {
  if (routing.rules.length === 0) return [{ recipients: message.recipients, route: routing.otherwise }];
  if (routing.reading !== "envelope") return undefined;
  return planRoute(routing, envelopeFacts(message), message.recipients);
}

/** The ways of a message's recipients by rules that look into it: reads its header, or its parts. Fails as reading does. */
export async function planByBody(
  { routing, message, body }: {
    readonly routing: Routing<OpenProvider>;
    readonly message: Message;
    readonly body: Body;
  },
): Promise<readonly DeliveryLeg[]> {
  const { header, hasAttachment } = await scanMessage(body.stream(), { parts: routing.reading === "parts" });
  const facts = {
    ...envelopeFacts(message),
    ...headerFacts(header, routing.names),
    ...(hasAttachment !== undefined && { hasAttachment }),
  };
  return planRoute(routing, facts, message.recipients);
}

function envelopeFacts({ id, mailFrom, user, size }: Message): MessageFacts {
  return { id, sender: mailFrom, account: user, size, now: new Date() };
}
