import assert from "node:assert/strict";
import { sendOnce } from "../../lib/smtp/client.ts";
import type { TestSystem } from "./spawn_services.ts";

/** Who submits and who gets it, where it is not the dev account's own. */
export interface SubmitOptions {
  readonly password?: string;
  readonly to?: string;
}

/** Submits a mail as the dev account, by STARTTLS; fails unless it is answered with 250, and answers its id. */
export async function submitMail(
  { smtpPort }: Pick<TestSystem, "smtpPort">,
  text: string,
  { password = "dev", to = "you@example.net" }: SubmitOptions = {},
): Promise<string> {
  const { answer } = await sendOnce(
    {
      address: "127.0.0.1",
      port: smtpPort,
      tls: "starttls",
      verify: false,
      servername: "localhost",
      credentials: { username: "dev", password },
    },
    {
      mailFrom: "me@example.com",
      recipients: [{ address: to }],
      eightBit: false,
      smtpUtf8: false,
    },
    new TextEncoder().encode(text),
  );
  assert.equal(answer?.code, 250, JSON.stringify(answer));
  const [, id] = /queued as ([\da-f-]{36})/.exec(answer?.lines.join(" ") ?? "") ?? [];
  assert.ok(id, "the answer names no message");
  return id;
}
