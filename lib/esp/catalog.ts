import type { EspKind } from "./esp.ts";
import { file } from "./file.ts";
import { mailgun } from "./mailgun.ts";
import { msgraph } from "./msgraph.ts";
import { sendgrid } from "./sendgrid.ts";
import { ses } from "./ses.ts";
import { simulator } from "./simulator.ts";
import { smtpRelay } from "./smtp_relay.ts";
import { stdout } from "./stdout.ts";

/** Every email service there is. Open one with what its own `settings` schema has parsed. */
export const espKinds: readonly EspKind<unknown>[] = [
  smtpRelay,
  sendgrid,
  ses,
  mailgun,
  msgraph,
  file,
  simulator,
  stdout,
];

/** The kind of that name; undefined when there is none. */
export function findKind(name: string): EspKind<unknown> | undefined {
  return espKinds.find((kind) => kind.name === name);
}
