import type { App } from "./app.ts";

/** Where the app listens. */
export interface ServeOptions {
  readonly host: string;
  readonly port: number;
  /** From then on every answer asks its client to connect anew for the next request, which another server may take. */
  readonly stopping: AbortSignal;
  /** Told of what the app throws; the client sees 500 without detail. */
  readonly onFault: (error: unknown) => void;
}

/**
 * The app on a socket; disposing waits until no request with a body is under way, takes no more requests and waits for
 * those that run, ten seconds at most each.
 */
export interface AppServer extends AsyncDisposable {
  readonly port: number;
}

const drainMs = 10_000;

/** Serves the app. Throws a clear message when it cannot listen. */
export function serveApp(app: App, { host, port, stopping, onFault }: ServeOptions): AppServer {
  const cut = new AbortController();
  /** Of requests with a body: whoever shuts the server down cuts off what is still being read. */
  const uploads = new Set<Promise<unknown>>();
  const server = listen();
  return {
    port: server.addr.port,
    async [Symbol.asyncDispose]() {
      await within(drainMs, async (isOver) => {
        while (uploads.size > 0 && !isOver()) await Promise.race(uploads);
      });
      const timer = setTimeout(() => cut.abort(), drainMs);
      await server.shutdown();
      clearTimeout(timer);
    },
  };

  function listen(): Deno.HttpServer<Deno.NetAddr> {
    try {
      return Deno.serve(
        { hostname: host, port, signal: cut.signal, onListen: () => {}, onError },
        async (request, { remoteAddr }) => {
          const answering = app(request, { remoteAddress: remoteAddr.hostname });
          if (request.body !== null) note(answering);
          const response = await answering;
          if (stopping.aborted) response.headers.set("connection", "close"); // RFC 9112 section 9.6
          return response;
        },
      );
    } catch (cause) {
      const why = cause instanceof Deno.errors.AddrInUse ? "the port is taken" : String(cause);
      throw new Error(`Cannot listen on ${host}:${port} for the API: ${why}`, { cause });
    }
  }

  function note(answering: Promise<unknown>): void {
    const settled = answering.then(forget, forget);
    uploads.add(settled);

    function forget(): void {
      uploads.delete(settled);
    }
  }

  function onError(error: unknown): Response {
    onFault(error);
    const body = { error: "internal server error", code: "internal", "correlation_id": crypto.randomUUID() };
    return Response.json(body, { status: 500 });
  }
}

/** Waits for work, but not longer than a time. */
async function within(limitMs: number, work: (isOver: () => boolean) => Promise<void>): Promise<void> {
  const late = Promise.withResolvers<void>();
  let isOver = false;
  const timer = setTimeout(() => {
    isOver = true;
    late.resolve();
  }, limitMs);
  await Promise.race([work(() => isOver), late.promise]);
  clearTimeout(timer);
}
