import type { Certificate } from "./target.ts";

/** Makes one ECDSA P-256 key and a certificate for localhost in `folder`, for all servers of a run. */
export async function makeCertificate(folder: string): Promise<Certificate> {
  const keyFile = `${folder}/key.pem`;
  const certFile = `${folder}/cert.pem`;
  const subject = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"];
  const key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", keyFile];
  const { success, stderr } = await new Deno.Command("openssl", {
    args: ["req", "-x509", ...key, "-out", certFile, "-days", "2", ...subject],
    stdout: "null",
  }).output();
  if (!success) throw new Error(`Cannot make a certificate: ${new TextDecoder().decode(stderr)}`);
  return { keyFile, certFile };
}
