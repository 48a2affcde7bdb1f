import { cidrContains, parseCidr } from "../network/cidr.ts";
import type { Metrics } from "./metrics.ts";

/** Whether a process can do its work; `down` names the parts that keep it from it. */
export type Readiness = { readonly ready: true } | {
  readonly ready: false;
  readonly down: readonly string[];
};

/** What an operations port tells. */
export interface OpsOptions {
  readonly metrics: Metrics;
  /** Asked at each `/readyz`; one that throws or takes over three seconds counts as not ready. */
  readonly ready: () => Promise<Readiness>;
  /** Told of what was thrown while a request was answered. */
  readonly onFault: (error: unknown) => void;
  /** Who may read `/metrics`; everybody when absent. */
  readonly mayReadMetrics?: (remoteAddress: string) => boolean;
}

/** Who asks; `remoteAddress` is an IP address. */
export interface Asker {
  readonly remoteAddress: string;
}

const readyTimeoutMs = 3000;

/**
 * Answers `/healthz` (200 as long as the process answers, whatever else is down), `/readyz` (503 with what is down)
 * and `/metrics`; undefined for every other path, so that it can stand in front of an application.
 */
export function opsHandler(
  options: OpsOptions,
): (request: Request, asker: Asker) => Promise<Response | undefined> {
  return async (request, asker) => {
    const answer = answers[pathOf(request.url)];
    if (answer === undefined) return undefined;
    if (request.method !== "GET" && request.method !== "HEAD") {
      return new Response(null, { status: 405, headers: { allow: "GET, HEAD" } });
    }
    return await answer(options, asker);
  };
}

type Answer = (options: OpsOptions, asker: Asker) => Promise<Response> | Response;

/** Loopback and the given networks, for `mayReadMetrics` on a public port (ruling 1.15). */
export function metricsReaders(networks: readonly string[]): (remoteAddress: string) => boolean {
  const allowed = ["127.0.0.0/8", "::1", ...networks].flatMap((network) => parseCidr(network) ?? []);
  return (remoteAddress) => allowed.some((network) => cidrContains(network, remoteAddress));
}

const noStore = { "cache-control": "no-store" };

const answers: Readonly<Record<string, Answer>> = {
  "/healthz": () => Response.json({ status: "ok" }, { headers: noStore }),
  "/readyz": async (options) => {
    const readiness = await askInTime(options);
    if (readiness.ready) return Response.json({ status: "ready" }, { headers: noStore });
    const body = { error: `${readiness.down.join(", ")} unavailable` };
    return Response.json(body, { status: 503, headers: { ...noStore, "retry-after": "30" } });
  },
  "/metrics": async ({ metrics, mayReadMetrics }, { remoteAddress }) => {
    if (mayReadMetrics !== undefined && !mayReadMetrics(remoteAddress)) {
      return Response.json({ error: "metrics are not served to this address" }, { status: 403 });
    }
    return new Response(await metrics.text(), {
      headers: { ...noStore, "content-type": metrics.contentType },
    });
  },
};

/** The path of a request's URL, which is absolute. */
function pathOf(url: string): string {
  const begin = url.indexOf("/", url.indexOf("//") + 2);
  const end = url.indexOf("?", begin);
  return url.slice(begin, end < 0 ? undefined : end);
}

async function askInTime({ ready, onFault }: OpsOptions): Promise<Readiness> {
  const late = Promise.withResolvers<Readiness>();
  const timer = setTimeout(() => late.resolve({ ready: false, down: ["readiness"] }), readyTimeoutMs);
  try {
    return await Promise.race([ready(), late.promise]);
  } catch (error) {
    onFault(error);
    return { ready: false, down: ["readiness"] };
  } finally {
    clearTimeout(timer);
  }
}

/** An operations port that listens; disposing closes it and cuts requests off. */
export interface OpsServer extends AsyncDisposable {
  readonly port: number;
}

/** Serves the operations paths, and 404 for every other. Throws a clear message when it cannot listen. */
export function serveOps(options: OpsOptions & { readonly host: string; readonly port: number }): OpsServer {
  const handle = opsHandler(options);
  const stop = new AbortController();
  const server = listen(options, stop.signal, async (request, { remoteAddr }) => {
    return await handle(request, { remoteAddress: remoteAddr.hostname }) ??
      Response.json({ error: "not found" }, { status: 404 });
  });
  return {
    port: server.addr.port,
    async [Symbol.asyncDispose]() {
      stop.abort();
      await server.finished;
    },
  };
}

type Handler = (request: Request, info: Deno.ServeHandlerInfo<Deno.NetAddr>) => Promise<Response>;

function listen(
  { host, port, onFault }: OpsOptions & { readonly host: string; readonly port: number },
  signal: AbortSignal,
  handler: Handler,
): Deno.HttpServer<Deno.NetAddr> {
  function onError(error: unknown): Response {
    onFault(error);
    return Response.json({ error: "internal server error" }, { status: 500 });
  }
  try {
    return Deno.serve({ hostname: host, port, signal, onError, onListen: () => {} }, handler);
  } catch (cause) {
    const taken = cause instanceof Deno.errors.AddrInUse;
    const why = taken ? "the port is taken" : cause instanceof Error ? cause.message : String(cause);
    throw new Error(`Cannot listen on ${host}:${port} for operations: ${why}`, { cause });
  }
}
