import { Refusal } from "../../lib/refusal.ts";

/** A request whose body has arrived; `request` holds the same bytes once more. */
export interface ReadRequest {
  readonly request: Request;
  readonly bytes: Uint8Array<ArrayBuffer>;
}

/**
 * Reads a request's body: within the limits, or Refusal(request_too_large, request_too_slow). A request that says
 * beforehand that it is too large is refused unread.
 */
export async function readRequest(
  request: Request,
  maxBytes: number,
  timeoutMs: number,
): Promise<ReadRequest> {
  if (request.body === null) return { request, bytes: new Uint8Array() };
  if (Number(request.headers.get("content-length") ?? 0) > maxBytes) throw tooLarge(maxBytes);
  const reader = request.body.getReader();
  const chunks: Uint8Array[] = [];
  let size = 0;
  const late = Promise.withResolvers<never>();
  late.promise.catch(() => undefined); // told by the race below, when it still runs
  const timer = setTimeout(() => late.reject(tooSlow(timeoutMs)), timeoutMs);
  try {
    for (;;) {
      const { done, value } = await Promise.race([reader.read(), late.promise]);
      if (done) break;
      size += value.byteLength;
      if (size > maxBytes) throw tooLarge(maxBytes);
      chunks.push(value);
    }
  } catch (error) {
    await reader.cancel().catch(() => undefined); // of what is gone nothing needs to be cancelled
    if (error instanceof Refusal) throw error;
    throw new Refusal("request_invalid", "the request ended before its body", { cause: error });
  } finally {
    clearTimeout(timer);
  }
  const { url, method, headers, signal } = request;
  const bytes = new Uint8Array(size);
  let offset = 0;
  for (const chunk of chunks) {
    bytes.set(chunk, offset);
    offset += chunk.byteLength;
  }
  refuseDepth(bytes);
  const body = size === 0 ? null : bytes;
  return { request: new Request(url, { method, headers, body, signal }), bytes };
}

/** Nothing that is asked nests so deeply, and whoever walks through it does so by calling itself. */
const deepest = 50;

/** Counts brackets outside of texts; of what is no JSON it may refuse what nobody could have used anyway. */
function refuseDepth(bytes: Uint8Array): void {
  let depth = 0;
  let isText = false;
  for (let at = 0; at < bytes.length; at++) {
    const byte = bytes[at];
    if (isText) {
      if (byte === 0x5c) at++;
      else if (byte === 0x22) isText = false;
    } else if (byte === 0x22) isText = true;
    else if (byte === 0x5b || byte === 0x7b) depth++;
    else if (byte === 0x5d || byte === 0x7d) depth--;
    if (depth > deepest) {
      throw new Refusal("request_invalid", `the request is nested more than ${deepest} times`);
    }
  }
}

function tooLarge(maxBytes: number): Refusal {
  return new Refusal("request_too_large", `the request is larger than ${maxBytes} bytes`);
}

function tooSlow(timeoutMs: number): Refusal {
  return new Refusal("request_too_slow", `the request did not arrive within ${timeoutMs} ms`);
}
