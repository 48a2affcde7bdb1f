import { Buffer } from "node:buffer";
import { createHash } from "node:crypto";
import { digest, type FakeError } from "./fake_s3_signature.ts";

/** One object as it was written. */
export interface FakeObject {
  readonly bytes: Uint8Array;
  readonly headers: Readonly<Record<string, string>>;
  readonly etag: string;
  readonly modified: Date;
}

interface Upload {
  readonly key: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly begun: Date;
  readonly parts: Map<number, { bytes: Uint8Array; etag: string; sha256: string }>;
}

/** A request whose signature was right. */
export interface FakeRequest {
  readonly method: string;
  readonly key: string;
  readonly query: URLSearchParams;
  readonly headers: Headers;
  readonly body: Uint8Array;
}

const leastPart = 5 << 20;

/** What a bucket does with requests, as AWS's documentation of S3 says. */
export class FakeBucket {
  readonly objects = new Map<string, FakeObject>();
  readonly uploads = new Map<string, Upload>();
  /** Whether `If-None-Match` is understood; without it such a write is a 501. */
  conditional = true;
  /** The word of that answer; without one it has no text at all. */
  unconditionalCode: string | undefined = "NotImplemented";
  pageSize = 1000;
  now: () => Date = () => new Date();

  async answer(request: FakeRequest): Promise<Response> {
    const { method, key, query } = request;
    if (key === "") {
      if (method === "HEAD") return new Response(null);
      if (query.has("uploads")) return this.#listUploads(query);
      return query.get("list-type") === "2"
        ? this.#list(query)
        : error({ status: 405, code: "MethodNotAllowed" });
    }
    if (method === "POST" && query.has("uploads")) return this.#begin(request);
    if (query.has("uploadId")) return await this.#ofUpload(request);
    if (method === "PUT") return await this.#put(request);
    if (method === "DELETE") {
      this.objects.delete(key);
      return new Response(null, { status: 204 });
    }
    if (method === "GET" || method === "HEAD") return this.#get(request);
    return error({ status: 405, code: "MethodNotAllowed" });
  }

  #get({ method, key, headers }: FakeRequest): Response {
    const object = this.objects.get(key);
    if (object === undefined) return error({ status: 404, code: "NoSuchKey" });
    const range = /^bytes=(\d+)-(\d+)$/.exec(headers.get("range") ?? "");
    const [from, to] = range === null ? [0, object.bytes.length] : [Number(range[1]), Number(range[2]) + 1];
    const bytes = object.bytes.slice(from, to);
    return new Response(method === "HEAD" ? null : bytes, {
      status: range === null ? 200 : 206,
      headers: {
        ...object.headers,
        "content-length": String(bytes.length),
        etag: object.etag,
        "last-modified": object.modified.toUTCString(),
        ...range !== null && { "content-range": `bytes ${from}-${to - 1}/${object.bytes.length}` },
      },
    });
  }

  async #put({ key, headers, body }: FakeRequest): Promise<Response> {
    const fault = this.#conditionFault(key, headers) ?? await checksumFault(headers, body);
    if (fault !== undefined) return error(fault);
    return this.#write(key, body, keptHeaders(headers), md5(body));
  }

  #conditionFault(key: string, headers: Headers): FakeError | undefined {
    const condition = headers.get("if-none-match");
    if (condition === null) return undefined;
    if (!this.conditional) return { status: 501, code: this.unconditionalCode ?? "" };
    if (condition !== "*") return { status: 400, code: "InvalidArgument" };
    return this.objects.has(key) ? { status: 412, code: "PreconditionFailed" } : undefined;
  }

  #write(key: string, bytes: Uint8Array, headers: Readonly<Record<string, string>>, etag: string): Response {
    this.objects.set(key, { bytes, headers, etag, modified: this.now() });
    return new Response(null, { headers: { etag } });
  }

  #begin({ key, headers }: FakeRequest): Response {
    if (headers.get("x-amz-checksum-algorithm") !== "SHA256") {
      return error({ status: 400, code: "InvalidRequest" });
    }
    const id = `upload-${crypto.randomUUID()}`;
    this.uploads.set(id, { key, headers: keptHeaders(headers), begun: this.now(), parts: new Map() });
    return xml(
      `<InitiateMultipartUploadResult><Key>${key}</Key><UploadId>${id}</UploadId></InitiateMultipartUploadResult>`,
    );
  }

  async #ofUpload(request: FakeRequest): Promise<Response> {
    const { method, key, query, body, headers } = request;
    const id = query.get("uploadId") ?? "";
    const upload = this.uploads.get(id);
    if (upload?.key !== key) return error({ status: 404, code: "NoSuchUpload" });
    if (method === "DELETE") {
      this.uploads.delete(id);
      return new Response(null, { status: 204 });
    }
    if (method === "POST") return this.#complete(id, upload, request);
    const number = Number(query.get("partNumber"));
    if (method !== "PUT" || !(number >= 1 && number <= 10_000)) {
      return error({ status: 400, code: "InvalidArgument" });
    }
    const fault = await checksumFault(headers, body);
    if (fault !== undefined) return error(fault);
    const part = { bytes: body, etag: md5(body), sha256: headers.get("x-amz-checksum-sha256") ?? "" };
    upload.parts.set(number, part);
    return new Response(null, { headers: { etag: part.etag } });
  }

  #complete(id: string, upload: Upload, { key, body, headers }: FakeRequest): Response {
    const fault = this.#conditionFault(key, headers);
    if (fault !== undefined) return error(fault);
    const named = [
      ...new TextDecoder().decode(body).matchAll(
        /<Part><PartNumber>(\d+)<\/PartNumber><ETag>([^<]*)<\/ETag><ChecksumSHA256>([^<]*)<\/ChecksumSHA256><\/Part>/g,
      ),
    ];
    const parts = named.map(([, number, etag, sha256]) => {
      const part = upload.parts.get(Number(number));
      const same = part?.etag === etag?.replaceAll("&#34;", '"') && part?.sha256 === sha256;
      return same ? part : undefined;
    });
    if (parts.length === 0) return error({ status: 400, code: "MalformedXML" });
    if (named.some(([, number], index) => Number(number) <= Number(named[index - 1]?.[1] ?? 0))) {
      return error({ status: 400, code: "InvalidPartOrder" });
    }
    const whole = parts.flatMap((part) => part === undefined ? [] : [part.bytes]);
    if (whole.length < parts.length) return error({ status: 400, code: "InvalidPart" });
    if (whole.slice(0, -1).some((bytes) => bytes.length < leastPart)) {
      return error({ status: 400, code: "EntityTooSmall" });
    }
    this.uploads.delete(id);
    this.#write(key, Buffer.concat(whole), upload.headers, `"${"0".repeat(32)}-${whole.length}"`);
    return xml(`<CompleteMultipartUploadResult><Key>${key}</Key></CompleteMultipartUploadResult>`);
  }

  #list(query: URLSearchParams): Response {
    const after = Buffer.from(query.get("continuation-token") ?? "", "base64").toString();
    const prefix = query.get("prefix") ?? "";
    const keys = [...this.objects.keys()].sort().filter((key) => key.startsWith(prefix) && key > after);
    const page = keys.slice(0, Math.min(this.pageSize, Number(query.get("max-keys") ?? 1000)));
    const items = page.map((key) => {
      const object = this.objects.get(key);
      return `<Contents><Key>${key}</Key><LastModified>${object?.modified.toISOString()}</LastModified>` +
        `<ETag>${
          object?.etag.replaceAll('"', "&quot;")
        }</ETag><Size>${object?.bytes.length}</Size></Contents>`;
    });
    const more = page.length < keys.length
      ? `<NextContinuationToken>${Buffer.from(page.at(-1) ?? "").toString("base64")}</NextContinuationToken>`
      : "";
    return xml(
      `<ListBucketResult><IsTruncated>${more !== ""}</IsTruncated>${
        items.join("")
      }${more}</ListBucketResult>`,
    );
  }

  #listUploads(query: URLSearchParams): Response {
    const prefix = query.get("prefix") ?? "";
    const items = [...this.uploads].filter(([, { key }]) => key.startsWith(prefix)).map((
      [id, { key, begun }],
    ) =>
      `<Upload><Key>${key}</Key><UploadId>${id}</UploadId><Initiated>${begun.toISOString()}</Initiated></Upload>`
    );
    return xml(`<ListMultipartUploadsResult>${items.join("")}</ListMultipartUploadsResult>`);
  }
}

async function checksumFault(headers: Headers, body: Uint8Array): Promise<FakeError | undefined> {
  const given = headers.get("x-amz-checksum-sha256");
  if (given === null) return { status: 400, code: "InvalidRequest" };
  const same = given === Buffer.from(await digest(body)).toString("base64");
  return same ? undefined : { status: 400, code: "BadDigest" };
}

function md5(bytes: Uint8Array): string {
  return `"${createHash("md5").update(bytes).digest("hex")}"`;
}

/** Metadata comes back as it was given; S3 takes 2 KB of it. */
function keptHeaders(headers: Headers): Record<string, string> {
  const kept = [...headers].filter(([name]) =>
    name.startsWith("x-amz-meta-") || name.startsWith("x-amz-server-side-encryption") ||
    name === "content-type"
  );
  const size = kept.reduce(
    (sum, [name, value]) => name.startsWith("x-amz-meta-") ? sum + name.length - 11 + value.length : sum,
    0,
  );
  if (size > 2048) throw new Error(`metadata of ${size} bytes`);
  return Object.fromEntries(kept);
}

/** An error as S3 tells it, or without a text where it has no code. */
export function error({ status, code, more = {}, headers = {} }: FakeError): Response {
  if (code === "") return new Response(null, { status, headers });
  const inner = Object.entries({
    Code: code,
    Message: "It did not work &amp; &#34;here&#34; is why",
    ...more,
  })
    .map(([name, value]) => `<${name}>${value}</${name}>`).join("");
  return xml(`<Error>${inner}<RequestId>REQ1</RequestId></Error>`, status, headers);
}

function xml(text: string, status = 200, headers: Readonly<Record<string, string>> = {}): Response {
  return new Response(`<?xml version="1.0" encoding="UTF-8"?>\n${text}`, {
    status,
    headers: { "content-type": "application/xml", ...headers },
  });
}
