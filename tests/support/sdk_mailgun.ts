// Mailgun's own client for JavaScript, used by tests alone; the only file that knows mailgun.js.
import Mailgun from "mailgun.js";
import { mimeOf, recipientsOf, type SampleMail } from "./sample_mails.ts";

/** As far as it is used; the package does not say where its typings are. */
interface MailgunSdk {
  client(options: { readonly username: string; readonly key: string; readonly url: string }): {
    readonly messages: { create(domain: string, data: unknown): Promise<unknown> };
  };
}

/** An account, and where its service is. */
export interface MailgunAccount {
  readonly url: string;
  readonly key: string;
  readonly domain: string;
}

/** Sends a message as a program does that uses the SDK: as MIME, with everybody who gets it in `to`. */
export async function sendByMailgunSdk(mail: SampleMail, account: MailgunAccount): Promise<void> {
  const sdk = new (Mailgun as unknown as new (form: typeof FormData) => MailgunSdk)(FormData);
  const client = sdk.client({ username: "api", key: account.key, url: account.url });
  await client.messages.create(account.domain, {
    to: [...recipientsOf(mail)],
    message: await mimeOf(mail, false),
  });
}
