import type { FakeGraph } from "./fake_graph.ts";
import type { RegisteredApp } from "./fake_graph_login.ts";
import "reflect-metadata";
import * as x509 from "@peculiar/x509";

/** The application that tests register. */
export const app = {
  tenant: "11111111-2222-3333-4444-555555555555",
  clientId: "66666666-7777-8888-9999-000000000000",
  secret: "s3cr~t/+ =&ü",
} as const satisfies RegisteredApp;

/** Settings of a provider that calls this mailbox. */
export function graphSettingsOf(fake: FakeGraph, changes: Readonly<Record<string, unknown>> = {}) {
  return {
    "tenant_id": app.tenant,
    "client_id": app.clientId,
    "client_secret": app.secret,
    "user_id": fake.user,
    endpoint: fake.http.origin,
    ...changes,
  };
}

/** A certificate and its key, both in PEM, made anew. */
export async function makeCertificate(): Promise<{ readonly certificate: string; readonly key: string }> {
  const algorithm = {
    name: "RSASSA-PKCS1-v1_5",
    hash: "SHA-256",
    publicExponent: new Uint8Array([1, 0, 1]),
    modulusLength: 2048,
  };
  const keys = await crypto.subtle.generateKey(algorithm, true, ["sign", "verify"]);
  const certificate = await x509.X509CertificateGenerator.createSelfSigned({
    name: "CN=smtp-proxy",
    keys,
    signingAlgorithm: algorithm,
  });
  const pkcs8 = new Uint8Array(await crypto.subtle.exportKey("pkcs8", keys.privateKey)).toBase64();
  const key = `-----BEGIN PRIVATE KEY-----\n${pkcs8.replace(/.{64}/g, "$&\n")}\n-----END PRIVATE KEY-----\n`;
  return { certificate: certificate.toString("pem"), key };
}
