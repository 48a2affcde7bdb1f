import { z } from "zod";

/** The settings that providers of every kind have; a schema of a kind begins with `...accountSettings`. */
export const accountSettings = z.strictObject({
  strip_dkim: z.boolean().optional()
    .describe("Remove DKIM-Signature fields, for a service that refuses a message with one of its own"),
  pass_control_headers: z.boolean().optional()
    .describe("Leave header fields by which a client steers the service (`X-SES-*`, `X-Mailgun-*`, …)"),
  unknown: z.enum(["retry", "hold"]).optional()
    .describe(
      "When nobody knows whether a call has sent the mail: `retry` (default) sends again, `hold` waits for a person",
    ),
  webhook: z.record(z.string().max(100), z.string().max(10_000)).optional()
    .describe("Keys that the service's reports are checked with, where it makes any"),
}).shape;

/** Keys of `accountSettings` that are sealed: every kind's `secretKeys` begin with them. */
export const accountSecrets = ["webhook"] as const;

/** The `endpoint` setting of services that are called by HTTP. */
export const httpEndpoint = z.url({ protocol: /^https?$/ }).max(2048)
  .refine((url) => {
    const { username, password, search, hash } = new URL(url);
    return username + password + search + hash === "";
  }, { message: "An endpoint has no user name, query or fragment" })
  .optional()
  .describe("URL to call in place of the service's own, e.g. of a test server or a proxy of your own");
