import { createVerify } from "node:crypto";
import { z } from "zod";
import { isRecent, jsonOf, type WebhookIo, type WebhookRequest } from "./webhook.ts";

const line = z.string().min(1).max(2048);
const envelope = z.object({
  Type: z.enum(["Notification", "SubscriptionConfirmation", "UnsubscribeConfirmation"]),
  MessageId: z.string().regex(/^[\w-]{1,100}$/),
  TopicArn: z.string().regex(/^arn:[\w-]{1,20}:sns:[a-z0-9-]{3,30}:\d{12}:[\w.-]{1,256}$/),
  Message: z.string().max(300_000),
  Subject: z.string().max(1000).nullish(),
  Timestamp: z.iso.datetime(),
  Token: line.optional(),
  SubscribeURL: line.optional(),
  SignatureVersion: z.string(),
  Signature: z.string().max(2048),
  SigningCertURL: line,
});

/** What SNS puts around a message; nothing of it is proven. */
export type SnsMessage = z.output<typeof envelope>;

/** SNS repeats a post for an hour. */
const longestMs = 75 * 60_000;

/** Reads a post of SNS: its headers say what its body says, and it was not sent raw, for that is signed by nobody. */
export function readSns(request: WebhookRequest): SnsMessage | undefined {
  const header = (name: string) => request.headers.get(`x-amz-sns-${name}`);
  const found = envelope.safeParse(jsonOf(request));
  if (!found.success || header("rawdelivery") === "true") return undefined;
  const { Type, MessageId, TopicArn } = found.data;
  const isSame = header("message-type") === Type && header("message-id") === MessageId &&
    header("topic-arn") === TopicArn;
  return isSame ? found.data : undefined;
}

/** Which signatures are believed: those of a topic, and of SHA-1 (`1`) or of SHA-256 alone (`2`). */
export interface SnsTrust {
  readonly topic: string;
  readonly lowestVersion: "1" | "2";
}

/** Whether SNS itself signed the message, for this topic and not long ago. */
export async function isSignedBySns(message: SnsMessage, trust: SnsTrust, io: WebhookIo): Promise<boolean> {
  const algorithm = algorithms[message.SignatureVersion];
  if (algorithm === undefined || message.SignatureVersion < trust.lowestVersion) return false;
  if (message.TopicArn !== trust.topic) return false;
  if (!isRecent(new Date(message.Timestamp), io.now(), longestMs)) return false;
  const url = snsUrl(message.SigningCertURL, message.TopicArn);
  if (url === undefined || !/^\/SimpleNotificationService-[A-Za-z0-9]{32}\.pem$/.test(url.pathname)) {
    return false;
  }
  if (url.search !== "" || !/^[A-Za-z0-9+/]+={0,2}$/.test(message.Signature)) return false;
  const key = await io.snsKey(url);
  if (key === undefined) return false;
  return createVerify(algorithm).update(signedText(message)).verify(key, message.Signature, "base64");
}

/** The URL that a subscription is confirmed by, when it is one of SNS for the same topic; undefined for any other. */
export function confirmUrlOf({ Type, SubscribeURL, TopicArn }: SnsMessage): URL | undefined {
  if (Type !== "SubscriptionConfirmation" || SubscribeURL === undefined) return undefined;
  const url = snsUrl(SubscribeURL, TopicArn);
  const asked = url?.searchParams;
  const isFit = url?.pathname === "/" && asked?.get("Action") === "ConfirmSubscription" &&
    asked.get("TopicArn") === TopicArn && asked.has("Token");
  return isFit ? url : undefined;
}

const algorithms: Readonly<Record<string, string>> = { 1: "RSA-SHA1", 2: "RSA-SHA256" };

/** An URL of SNS in the topic's own region and of nobody else: what is in a request may name any host. */
function snsUrl(text: string, topicArn: string): URL | undefined {
  const url = URL.parse(text);
  const [, partition, , region] = topicArn.split(":");
  const host = `sns.${region}.amazonaws.com${partition === "aws-cn" ? ".cn" : ""}`;
  const isFit = url?.protocol === "https:" && url.host === host &&
    url.username + url.password + url.hash === "";
  return isFit ? url : undefined;
}

function signedText(message: SnsMessage): string {
  const names = message.Type === "Notification"
    ? (["Message", "MessageId", "Subject", "Timestamp", "TopicArn", "Type"] as const)
    : (["Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type"] as const);
  return names.flatMap((name) => {
    const value = message[name];
    return value === undefined || value === null ? [] : [`${name}\n${value}\n`];
  }).join("");
}
