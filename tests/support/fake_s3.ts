import { error, FakeBucket } from "./fake_s3_bucket.ts";
import { type FakeError, signatureFault } from "./fake_s3_signature.ts";

/** What goes wrong with a request that the service understood. */
export type FakeTrouble =
  | { readonly kind: "error"; readonly error: FakeError }
  /** The request is served and its answer never arrives. */
  | { readonly kind: "answer_lost" }
  /** An error inside a 200, after some white space. */
  | { readonly kind: "error_in_200"; readonly code: string }
  /** The body breaks off in the middle: the connection is cut, or it ends as if it were whole. */
  | { readonly kind: "cut" | "short" }
  /** One byte of the body is another. */
  | { readonly kind: "flip" }
  | { readonly kind: "hang" };

/** A strict S3 with one bucket, which checks every signature with code of its own. */
export interface FakeS3 extends AsyncDisposable {
  readonly origin: string;
  readonly bucket: FakeBucket;
  /** Requests served and refused, as `PUT key` with the query's names. */
  readonly requests: string[];
  /** Where the bucket is; requests signed for or sent to another region are sent here. */
  region: string;
  readonly keys: Map<string, { readonly secret: string; readonly token?: string }>;
  /** The service's clock. */
  now: () => Date;
  /** The next requests that `match` get into trouble, one for each trouble given. */
  trouble(match: (method: string, url: URL) => boolean, ...troubles: readonly FakeTrouble[]): void;
  /** Calls the service without a socket, whatever host is asked for: for names that do not resolve here. */
  readonly fetch: typeof fetch;
}

/** The name of the fake's bucket, and the keys that it knows from the start. */
export const fakeBucket = "bodies-of-mail";
export const fakeKeys = { accessKeyId: "AKIDFAKE", secretAccessKey: "secret/of+fake" };

/** Starts a service on a free port of loopback. */
export function startFakeS3(): FakeS3 {
  const bucket = new FakeBucket();
  const requests: string[] = [];
  const waiting: { match: (method: string, url: URL) => boolean; trouble: FakeTrouble }[] = [];
  const hung = new AbortController();
  const fake = {
    bucket,
    requests,
    region: "us-east-1",
    keys: new Map([[
      fakeKeys.accessKeyId,
      { secret: fakeKeys.secretAccessKey } as { secret: string; token?: string },
    ]]),
    now: () => new Date(),
    trouble(match: (method: string, url: URL) => boolean, ...troubles: readonly FakeTrouble[]) {
      for (const trouble of troubles) waiting.push({ match, trouble });
    },
  };

  async function serve(request: Request): Promise<Response> {
    const url = new URL(request.url);
    const body = new Uint8Array(await request.arrayBuffer());
    const { key, host } = placeOf(url);
    requests.push([request.method, key, ...new Set(url.searchParams.keys())].join(" ").trimEnd());
    const refused = refusalOf(request, body, host) ??
      await signatureFault(request, body, { region: fake.region, keys: fake.keys, now: fake.now() });
    if (refused !== undefined) return dated(withoutBody(request, error(refused)));
    const at = waiting.findIndex(({ match }) => match(request.method, url));
    const trouble = at < 0 ? undefined : waiting.splice(at, 1)[0]?.trouble;
    // One that is read only once everything has been let go does not hang.
    if (trouble?.kind === "hang" && !hung.signal.aborted) {
      await new Promise((resolve) => hung.signal.addEventListener("abort", resolve));
    }
    if (trouble?.kind === "error") return dated(withoutBody(request, error(trouble.error)));
    if (trouble?.kind === "error_in_200") {
      return new Response(`\n \n<?xml version="1.0"?>\n<Error><Code>${trouble.code}</Code></Error>`);
    }
    const { method, headers } = request;
    const answer = await bucket.answer({ method, key, query: url.searchParams, headers, body });
    if (trouble?.kind === "answer_lost") return cut(answer, "");
    if (trouble?.kind === "cut" || trouble?.kind === "short" || trouble?.kind === "flip") {
      return spoiled(answer, trouble.kind);
    }
    return dated(withoutBody(request, answer));
  }

  function placeOf(url: URL): { readonly key: string; readonly host: string } {
    const [, first = "", ...rest] = decodeURIComponent(url.pathname).split("/");
    if (url.hostname.startsWith(`${fakeBucket}.`)) {
      return { key: [first, ...rest].join("/"), host: url.hostname.slice(fakeBucket.length + 1) };
    }
    return first === fakeBucket
      ? { key: rest.join("/"), host: url.hostname }
      : { key: "?", host: url.hostname };
  }

  function refusalOf(request: Request, body: Uint8Array, host: string): FakeError | undefined {
    if (request.headers.has("transfer-encoding")) return { status: 501, code: "NotImplemented" };
    const length = request.headers.get("content-length");
    if (length !== null && Number(length) !== body.length) return { status: 400, code: "IncompleteBody" };
    if (new URL(request.url).pathname === `/${fakeBucket}`) return { status: 400, code: "InvalidURI" };
    const named = /^s3\.([a-z0-9-]+)\.amazonaws\.com$/.exec(host)?.[1];
    if (named === undefined || named === fake.region) return undefined;
    const headers = { "x-amz-bucket-region": fake.region };
    const more = { Endpoint: `${fakeBucket}.s3-${fake.region}.amazonaws.com` };
    return { status: 301, code: "PermanentRedirect", headers, more };
  }

  function dated(response: Response): Response {
    const headers = new Headers(response.headers);
    headers.set("date", fake.now().toUTCString());
    return new Response(response.body, { status: response.status, headers });
  }

  const server = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen: () => {} }, serve);
  return Object.assign(fake, {
    origin: `http://127.0.0.1:${server.addr.port}`,
    async fetch(input: string | URL | Request, init?: RequestInit) {
      const answer = await serve(new Request(input, init));
      const bytes = answer.body === null ? null : await answer.arrayBuffer();
      return new Response(bytes, { status: answer.status, headers: answer.headers });
    },
    async [Symbol.asyncDispose]() {
      hung.abort();
      await server.shutdown();
    },
  });
}

function withoutBody(request: Request, response: Response): Response {
  if (request.method !== "HEAD" || response.body === null) return response;
  return new Response(null, { status: response.status, headers: response.headers });
}

/** An answer that says nothing but the beginning of itself, and then its connection is gone. */
function cut(answer: Response, beginning: Uint8Array | string): Response {
  const headers = new Headers(answer.headers);
  headers.set("content-length", answer.headers.get("content-length") ?? "1000");
  const body = new ReadableStream<Uint8Array>({
    start(controller) {
      if (beginning.length > 0 && typeof beginning !== "string") controller.enqueue(beginning);
    },
    pull: (controller) => controller.close(),
  }, { highWaterMark: 0 });
  return new Response(body, { status: answer.status, headers });
}

async function spoiled(answer: Response, how: "cut" | "short" | "flip"): Promise<Response> {
  const bytes = new Uint8Array(await answer.arrayBuffer());
  const half = bytes.length >> 1;
  const headers = new Headers(answer.headers);
  if (how === "cut") return cut(new Response(null, { status: answer.status, headers }), bytes.slice(0, half));
  if (how === "flip") bytes[half] = (bytes[half] ?? 0) ^ 0xff;
  const body = how === "short" ? bytes.slice(0, half) : bytes;
  headers.set("content-length", String(body.length));
  return new Response(body, { status: answer.status, headers });
}
