import { sinkCertificate } from "../support/sink_certificate.ts";
import type { Certificate } from "./target.ts";

/** Writes one ECDSA P-256 key and its certificate for localhost into `folder`, for all servers of a run. */
export async function writeCertificate(folder: string): Promise<Certificate> {
  const keyFile = `${folder}/key.pem`;
  const certFile = `${folder}/cert.pem`;
  await Deno.writeTextFile(keyFile, sinkCertificate.key);
  await Deno.writeTextFile(certFile, sinkCertificate.cert);
  return { keyFile, certFile };
}
