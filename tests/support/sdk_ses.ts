// Amazon's own client of SES for JavaScript, used by tests alone; the only file that knows @aws-sdk/client-sesv2.
import { SendEmailCommand, SESv2Client } from "@aws-sdk/client-sesv2";
import { mimeOf, type SampleMail } from "./sample_mails.ts";

/** An account, and where its service is. */
export interface SesAccount {
  readonly endpoint: string;
  readonly region: string;
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
}

/** Sends a message as a program does that uses the SDK: as MIME, with the lists of its recipients beside it. */
export async function sendBySesSdk(mail: SampleMail, account: SesAccount): Promise<void> {
  const { endpoint, region, ...credentials } = account;
  const client = new SESv2Client({ endpoint, region, credentials, maxAttempts: 1 });
  const addresses = (boxes: SampleMail["to"]) => boxes.map(({ address }) => address);
  try {
    await client.send(
      new SendEmailCommand({
        Destination: {
          ToAddresses: addresses(mail.to),
          CcAddresses: addresses(mail.cc),
          BccAddresses: [...mail.bcc],
        },
        Content: { Raw: { Data: await mimeOf(mail, false) } },
      }),
    );
  } finally {
    client.destroy();
  }
}
