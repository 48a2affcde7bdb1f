import { Agent, type IncomingMessage, request as httpRequest } from "node:http";
import { Readable } from "node:stream";

/** What `fetchDirect` takes of a request. */
export interface DirectRequest {
  readonly method?: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly signal: AbortSignal;
}

/** An agent that is given no `proxyEnv` takes the process's environment where NODE_USE_ENV_PROXY is set. */
const withoutProxies = { keepAlive: false, proxyEnv: {} };
const withoutBody = [204, 205, 304];

/**
 * Asks an `http:` address without any proxy, whatever the environment says of one: for services of the machine itself
 * (link-local), whose answers hold keys. Follows no redirect, keeps no connection. Rejects with what the signal was
 * aborted for, or with the connection's error.
 */
export function fetchDirect(
  url: URL,
  { method = "GET", headers = {}, signal }: DirectRequest,
): Promise<Response> {
  const { promise, resolve, reject } = Promise.withResolvers<Response>();
  if (signal.aborted) return Promise.reject(signal.reason);
  const call = httpRequest(url, {
    method,
    headers: { ...headers },
    agent: new Agent(withoutProxies),
    signal,
  });
  call.once("response", (message) => {
    try {
      resolve(responseOf(message));
    } catch (error) {
      message.destroy();
      reject(error);
    }
  });
  call.on("error", (error) => reject(signal.aborted ? signal.reason : error));
  call.end();
  return promise;
}

function responseOf(message: IncomingMessage): Response {
  const status = message.statusCode ?? 0;
  const headers = new Headers();
  for (const [name, values] of Object.entries(message.headersDistinct)) {
    for (const value of values ?? []) headers.append(name, value);
  }
  if (withoutBody.includes(status)) {
    message.resume();
    return new Response(null, { status, headers });
  }
  return new Response(Readable.toWeb(message) as ReadableStream<Uint8Array<ArrayBuffer>>, {
    status,
    headers,
  });
}
