import type { App } from "./app.ts";

/** Where the app listens. */
export interface ServeOptions {
  readonly host: string;
  readonly port: number;
  /** Told of what the app throws; the client sees 500 without detail. */
  readonly onFault: (error: unknown) => void;
}

/** The app on a socket; disposing takes no more requests and waits for those that run, ten seconds at most. */
export interface AppServer extends AsyncDisposable {
  readonly port: number;
}

const drainMs = 10_000;

/** Serves the app. Throws a clear message when it cannot listen. */
export function serveApp(app: App, { host, port, onFault }: ServeOptions): AppServer {
  const cut = new AbortController();
  const server = listen();
  return {
    port: server.addr.port,
    async [Symbol.asyncDispose]() {
      const timer = setTimeout(() => cut.abort(), drainMs);
      await server.shutdown();
      clearTimeout(timer);
    },
  };

  function listen(): Deno.HttpServer<Deno.NetAddr> {
    try {
      return Deno.serve(
        { hostname: host, port, signal: cut.signal, onListen: () => {}, onError },
        (request, { remoteAddr }) => app(request, { remoteAddress: remoteAddr.hostname }),
      );
    } catch (cause) {
      const why = cause instanceof Deno.errors.AddrInUse ? "the port is taken" : String(cause);
      throw new Error(`Cannot listen on ${host}:${port} for the API: ${why}`, { cause });
    }
  }

  function onError(error: unknown): Response {
    onFault(error);
    const body = { error: "internal server error", code: "internal", "correlation_id": crypto.randomUUID() };
    return Response.json(body, { status: 500 });
  }
}
