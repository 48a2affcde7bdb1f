// SNS's side of HTTP subscriptions, by its documentation; it shares no code with what it checks.
import { createSign } from "node:crypto";
import "reflect-metadata";
import * as x509 from "@peculiar/x509";

/** What of a post a test may make otherwise. */
export interface SnsChanges {
  readonly fields?: Readonly<Record<string, string>>;
  /** Set after signing. */
  readonly forged?: Readonly<Record<string, string>>;
  readonly headers?: Readonly<Record<string, string>>;
}

/** One topic that signs as SNS does, and answers for its certificate and its subscriptions. */
export class FakeSns {
  readonly topic: string;
  readonly certificateUrl: string;
  /** Every URL that was asked for. */
  readonly asked: string[] = [];
  /** What a request for a subscription is answered. */
  confirmStatus = 200;
  readonly #certificate: string;
  readonly #key: string;

  private constructor(topic: string, certificate: string, key: string) {
    this.topic = topic;
    this.certificateUrl = `https://sns.eu-west-1.amazonaws.com/SimpleNotificationService-${
      "a1".repeat(16)
    }.pem`;
    this.#certificate = certificate;
    this.#key = key;
  }

  /** A topic in eu-west-1 whose certificate has this subject and is in force for some days. */
  static async open(name = "CN=sns.amazonaws.com", days = 5): Promise<FakeSns> {
    const algorithm = {
      name: "RSASSA-PKCS1-v1_5",
      hash: "SHA-256",
      publicExponent: new Uint8Array([1, 0, 1]),
      modulusLength: 2048,
    };
    const keys = await crypto.subtle.generateKey(algorithm, true, ["sign", "verify"]);
    const dayMs = 86_400_000;
    const certificate = await x509.X509CertificateGenerator.createSelfSigned({
      name,
      keys,
      signingAlgorithm: algorithm,
      notBefore: new Date(Date.now() - 10 * dayMs),
      notAfter: new Date(Date.now() + days * dayMs),
    });
    const pkcs8 = new Uint8Array(await crypto.subtle.exportKey("pkcs8", keys.privateKey)).toBase64();
    const key = `-----BEGIN PRIVATE KEY-----\n${
      pkcs8.replace(/.{64}/g, "$&\n")
    }\n-----END PRIVATE KEY-----\n`;
    return new FakeSns("arn:aws:sns:eu-west-1:123456789012:reports", certificate.toString("pem"), key);
  }

  /** For whoever fetches from the internet of the test, in which there is nothing but this. */
  readonly fetch: typeof fetch = (input) => {
    const url = input instanceof Request ? input.url : String(input);
    this.asked.push(url);
    if (url === this.certificateUrl) return Promise.resolve(new Response(this.#certificate));
    const { host, searchParams } = new URL(url);
    if (host !== "sns.eu-west-1.amazonaws.com" || searchParams.get("Action") !== "ConfirmSubscription") {
      return Promise.reject(new TypeError(`Nobody answers at ${url}`));
    }
    return Promise.resolve(new Response("<ok/>", { status: this.confirmStatus }));
  };

  /** A notification as it is posted. */
  notification(message: object | string, version: "1" | "2" = "2", changes: SnsChanges = {}) {
    const text = typeof message === "string" ? message : JSON.stringify(message);
    return this.#post("Notification", { Message: text }, version, changes);
  }

  /** What is posted first to a new subscription. */
  confirmation(changes: SnsChanges = {}) {
    const query = `Action=ConfirmSubscription&TopicArn=${this.topic}&Token=t0ken`;
    const fields = {
      Message: "You have chosen to subscribe to the topic",
      Token: "t0ken",
      SubscribeURL: `https://sns.eu-west-1.amazonaws.com/?${query}`,
    };
    return this.#post("SubscriptionConfirmation", fields, "2", changes);
  }

  #post(type: string, given: Readonly<Record<string, string>>, version: "1" | "2", changes: SnsChanges) {
    const fields: Record<string, string> = {
      Type: type,
      MessageId: crypto.randomUUID(),
      TopicArn: this.topic,
      Timestamp: new Date().toISOString(),
      SigningCertURL: this.certificateUrl,
      ...given,
      ...changes.fields,
    };
    const signed = [
      "Message",
      "MessageId",
      "Subject",
      "SubscribeURL",
      "Timestamp",
      "Token",
      "TopicArn",
      "Type",
    ]
      .filter((name) =>
        fields[name] !== undefined && !(type === "Notification" && /^(Token|Sub.*URL)$/.test(name))
      )
      .map((name) => `${name}\n${fields[name]}\n`).join("");
    const signer = createSign(version === "1" ? "RSA-SHA1" : "RSA-SHA256").update(signed);
    const Signature = signer.sign(this.#key, "base64");
    const body = JSON.stringify({ ...fields, SignatureVersion: version, Signature, ...changes.forged });
    return {
      body,
      headers: {
        "content-type": "text/plain; charset=UTF-8",
        "x-amz-sns-message-type": type,
        "x-amz-sns-message-id": fields["MessageId"] ?? "",
        "x-amz-sns-topic-arn": fields["TopicArn"] ?? "",
        ...changes.headers,
      },
    };
  }
}
