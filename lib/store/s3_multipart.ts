import { createHash } from "node:crypto";
import type { Body } from "./body.ts";
import { DamagedBody, sameBytes } from "./file_body.ts";
import { sha256Of } from "./memory_body.ts";
import { hasCode, S3Error, xmlText, xmlTexts } from "./s3_errors.ts";
import type { S3Client } from "./s3_request.ts";

/** Size of every part but the last; S3 takes 10,000 of 5 MiB or more. */
export const partSize = 8 << 20;

/** An upload in parts. */
export interface MultipartUpload {
  readonly client: S3Client;
  readonly key: string;
  readonly body: Body;
  /** Metadata and encryption of the object. */
  readonly headers: Readonly<Record<string, string>>;
  /** Of the last step: that nothing may be there yet, unless the service knows no such condition. */
  readonly condition: Readonly<Record<string, string>>;
}

interface Part {
  readonly number: number;
  readonly etag: string;
  readonly sha256: string;
}

/** Uploads a body part by part, one in memory at a time; an upload that fails is taken back before this throws. */
export async function uploadInParts(upload: MultipartUpload): Promise<void> {
  const { client, key, headers } = upload;
  const { text } = await client.ask({
    what: "begin to store a body",
    method: "POST",
    key,
    query: { uploads: "" },
    headers: { ...headers, "x-amz-checksum-algorithm": "SHA256" },
  });
  const uploadId = xmlText(text, "UploadId");
  if (!uploadId) {
    throw new S3Error("begin to store a body", { status: 200, code: "no UploadId in the answer" });
  }
  try {
    const parts = await sendParts(upload, uploadId);
    await complete(upload, uploadId, parts);
  } catch (error) {
    // The failure is what matters; what stays of the upload is cleared away with the other remains.
    await Promise.allSettled([abort(client, key, uploadId)]);
    throw error;
  }
}

async function sendParts({ client, key, body }: MultipartUpload, uploadId: string): Promise<readonly Part[]> {
  const whole = createHash("sha256");
  const parts: Part[] = [];
  let size = 0;
  for await (const bytes of inPieces(body.stream(), partSize)) {
    whole.update(bytes);
    size += bytes.length;
    parts.push(await sendPart(client, key, uploadId, parts.length + 1, bytes));
  }
  if (size === body.size && sameBytes(whole.digest(), body.sha256)) return parts;
  throw new DamagedBody(
    `Cannot store a body of ${body.size} bytes: ${size} came, or their SHA-256 is another`,
  );
}

async function sendPart(client: S3Client, key: string, uploadId: string, number: number, bytes: Uint8Array) {
  const hash = sha256Of(bytes);
  const sha256 = hash.toBase64();
  const { headers } = await client.ask({
    what: "store a part of a body",
    method: "PUT",
    key,
    query: { partNumber: String(number), uploadId },
    headers: { "x-amz-checksum-sha256": sha256 },
    body: bytes,
    bodyHash: hash.toHex(),
  });
  const etag = headers.get("etag");
  if (!etag) throw new S3Error("store a part of a body", { status: 200, code: "no ETag in the answer" });
  return { number, etag, sha256 };
}

async function complete(upload: MultipartUpload, uploadId: string, parts: readonly Part[]): Promise<void> {
  const items = parts.map(({ number, etag, sha256 }) =>
    `<Part><PartNumber>${number}</PartNumber><ETag>${escaped(etag)}</ETag>` +
    `<ChecksumSHA256>${sha256}</ChecksumSHA256></Part>`
  );
  const xml = `<CompleteMultipartUpload xmlns="http://s3.amazonaws.com/doc/2006-03-01/">${items.join("")}` +
    "</CompleteMultipartUpload>";
  const { text } = await upload.client.ask({
    what: "finish storing a body",
    method: "POST",
    key: upload.key,
    query: { uploadId },
    headers: { "content-type": "application/xml", ...upload.condition },
    body: new TextEncoder().encode(xml),
  });
  if (text.includes("CompleteMultipartUploadResult")) return;
  throw new S3Error("finish storing a body", { status: 200, code: "another answer than was expected" });
}

async function abort(client: S3Client, key: string, uploadId: string): Promise<void> {
  try {
    await client.ask({ what: "take an upload back", method: "DELETE", key, query: { uploadId } });
  } catch (error) {
    if (!hasCode(error, "NoSuchUpload")) throw error;
  }
}

/** Takes back the uploads below a prefix that dead processes began before a moment and never ended. */
export async function abortStale(client: S3Client, prefix: string, before: Date): Promise<void> {
  const { text } = await client.ask({
    what: "list uploads",
    method: "GET",
    query: { uploads: "", prefix, "max-uploads": "1000" },
  });
  for (const upload of xmlTexts(text, "Upload")) {
    const [key, id, begun] = ["Key", "UploadId", "Initiated"].map((name) => xmlText(upload, name));
    if (!key?.startsWith(prefix) || !id || !(Date.parse(begun ?? "") < before.getTime())) continue;
    await abort(client, key, id);
  }
}

/** A stream's bytes in pieces of one size, the last of which may be shorter; each lies where the one before lay. */
export async function* inPieces(
  stream: ReadableStream<Uint8Array>,
  size: number,
): AsyncGenerator<Uint8Array> {
  const piece = new Uint8Array(size);
  let filled = 0;
  try {
    for await (let chunk of stream) {
      while (chunk.length > 0) {
        const taken = chunk.subarray(0, size - filled);
        piece.set(taken, filled);
        filled += taken.length;
        chunk = chunk.subarray(taken.length);
        if (filled < size) continue;
        yield piece;
        filled = 0;
      }
    }
    if (filled > 0) yield piece.subarray(0, filled);
  } finally {
    // The garbage collector would come much later: it does not see how much memory is waiting for it.
    piece.buffer.transfer(0);
  }
}

function escaped(text: string): string {
  return text.replace(/[&<>"']/g, (sign) => `&#${sign.charCodeAt(0)};`);
}
