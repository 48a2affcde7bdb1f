import { hostname } from "node:os";
import type { Certificate } from "./listener_options.ts";

/** The certificate of two PEM files; throws when one of them cannot be read or does not look like PEM. */
export async function loadCertificate(certFile: string, keyFile: string): Promise<Certificate> {
  const [cert, key] = await Promise.all([Deno.readTextFile(certFile), Deno.readTextFile(keyFile)]);
  if (!cert.includes("-----BEGIN CERTIFICATE-----")) {
    throw new Error(`Cannot use the certificate: ${certFile} holds no PEM certificate`);
  }
  if (!/-----BEGIN [A-Z ]*PRIVATE KEY-----/.test(key)) {
    throw new Error(`Cannot use the certificate's key: ${keyFile} holds no PEM private key`);
  }
  return { key, cert };
}

/** Makes a certificate for this process's life: ECDSA P-256, a year, for localhost, our services and this host. */
export async function selfSignedCertificate(now: Date, host: string = hostname()): Promise<Certificate> {
  // Loaded only here, so that a process with files of its own never pays for it; reflect-metadata must come first.
  await import("reflect-metadata");
  const x509 = await import("@peculiar/x509");
  const algorithm = { name: "ECDSA", namedCurve: "P-256", hash: "SHA-256" };
  const keys = await crypto.subtle.generateKey(algorithm, true, ["sign", "verify"]);
  const names = [...new Set(["localhost", "smtp-server", "api-server", host])];
  const certificate = await x509.X509CertificateGenerator.createSelfSigned({
    name: "CN=localhost",
    serialNumber: crypto.getRandomValues(new Uint8Array(16)).toHex(),
    // An hour of grace for clients whose clock is behind.
    notBefore: new Date(now.getTime() - 3_600_000),
    notAfter: new Date(now.getTime() + 365 * 86_400_000),
    keys,
    signingAlgorithm: algorithm,
    extensions: [
      new x509.BasicConstraintsExtension(false, undefined, true),
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.digitalSignature, true),
      new x509.ExtendedKeyUsageExtension([x509.ExtendedKeyUsage.serverAuth]),
      new x509.SubjectAlternativeNameExtension([
        ...names.map((value) => ({ type: "dns" as const, value })),
        { type: "ip", value: "127.0.0.1" },
        { type: "ip", value: "::1" },
      ]),
    ],
  });
  const pkcs8 = await crypto.subtle.exportKey("pkcs8", keys.privateKey);
  return { key: pem("PRIVATE KEY", new Uint8Array(pkcs8)), cert: certificate.toString("pem") + "\n" };
}

function pem(label: string, bytes: Uint8Array): string {
  const lines = bytes.toBase64().match(/.{1,64}/g) ?? [];
  return `-----BEGIN ${label}-----\n${lines.join("\n")}\n-----END ${label}-----\n`;
}
