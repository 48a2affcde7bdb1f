import { createPrivateKey, X509Certificate } from "node:crypto";
import { z } from "zod";
import { accountSecrets, accountSettings, httpEndpoint } from "./account_settings.ts";

/** What Microsoft Graph is told of an account. */
export const graphSettings = z.strictObject({
  ...accountSettings,
  endpoint: httpEndpoint,
  tenant_id: z.string().regex(/^[A-Za-z0-9.-]{1,253}$/).describe(
    "The directory: its id or one of its domains",
  ),
  client_id: z.string().regex(/^[A-Za-z0-9-]{1,100}$/).describe("The application's id"),
  client_secret: z.string().min(1).max(1000).optional().describe("The application's secret"),
  certificate: z.string().max(20_000).refine(isCertificate, { message: "It is not a certificate in PEM" })
    .optional().describe("The application's certificate in PEM, in place of a secret"),
  private_key: z.string().max(20_000).refine(isRsaKey, { message: "It is not an RSA key in PEM" })
    .optional().describe("The certificate's RSA key in PEM"),
  user_id: z.string().regex(/^[^\s/?#\\]{1,320}$/).describe(
    "The mailbox to send by: its id or principal name",
  ),
  cloud: z.enum(["global", "usgov", "dod", "china"]).default("global").describe("Where the directory lives"),
}).superRefine((given, context) => {
  const { client_secret: secret, certificate, private_key: key } = given;
  if ((certificate === undefined) !== (key === undefined)) {
    context.addIssue({ code: "custom", message: "certificate and private_key go together" });
  }
  if ((secret === undefined) === (certificate === undefined)) {
    context.addIssue({ code: "custom", message: "Either client_secret or certificate is needed" });
  }
});

/** The settings of Microsoft Graph. */
export type GraphSettings = z.output<typeof graphSettings>;

/** Those of them that are sealed. */
export const graphSecrets: readonly string[] = [...accountSecrets, "client_secret", "private_key"];

/** The field that names our call; Exchange makes a property of it, by which a draft that was left is found. */
export const callField = "x-smtp-proxy-call";

/** Where a cloud's services are. */
export interface GraphCloud {
  readonly login: string;
  readonly graph: string;
  /** Hosts, and their subdomains, that parts of attachments may be sent to. */
  readonly uploads: readonly string[];
}

/** Microsoft's clouds; what is registered in one is unknown in the others. */
export const graphClouds: Readonly<Record<GraphSettings["cloud"], GraphCloud>> = {
  global: {
    login: "https://login.microsoftonline.com/",
    graph: "https://graph.microsoft.com/",
    uploads: ["graph.microsoft.com", "office.com", "office365.com"],
  },
  usgov: {
    login: "https://login.microsoftonline.us/",
    graph: "https://graph.microsoft.us/",
    uploads: ["graph.microsoft.us", "office365.us"],
  },
  dod: {
    login: "https://login.microsoftonline.us/",
    graph: "https://dod-graph.microsoft.us/",
    uploads: ["dod-graph.microsoft.us", "office365.us"],
  },
  china: {
    login: "https://login.chinacloudapi.cn/",
    graph: "https://microsoftgraph.chinacloudapi.cn/",
    uploads: ["microsoftgraph.chinacloudapi.cn", "outlook.cn"],
  },
};

function isCertificate(pem: string): boolean {
  return isReadable(() => new X509Certificate(pem));
}

function isRsaKey(pem: string): boolean {
  return isReadable(() => {
    if (createPrivateKey(pem).asymmetricKeyType !== "rsa") throw new TypeError("It is not an RSA key");
  });
}

function isReadable(read: () => unknown): boolean {
  try {
    read();
    return true;
  } catch (error) {
    // The parsers of keys throw errors of many kinds, all of them about what they were given.
    return !(error instanceof Error);
  }
}
