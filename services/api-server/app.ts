import type { Asker } from "../../lib/telemetry/ops.ts";

/** What the app is made of. */
export interface AppOptions {
  /** `/healthz`, `/readyz` and `/metrics`; undefined for every other path. */
  readonly operations: (request: Request, asker: Asker) => Promise<Response | undefined>;
  /** Told of every request: its route (never the path itself), status and duration. */
  readonly onRequest: (method: string, route: string, status: number, seconds: number) => void;
}

/** An HTTP application that can be called without listening anywhere. */
export type App = (request: Request, asker: Asker) => Promise<Response>;

/** The HTTP side of the API server: operations, and 404 in the documented shape for every other path. */
export function createApp({ operations, onRequest }: AppOptions): App {
  return async (request, asker) => {
    const start = performance.now();
    const answered = await operations(request, asker);
    const response = answered ?? notFound();
    const route = answered === undefined ? "none" : new URL(request.url).pathname;
    onRequest(request.method, route, response.status, (performance.now() - start) / 1000);
    return response;
  };
}

/** One shape for every error (ruling 1.6). */
function notFound(): Response {
  const id = crypto.randomUUID();
  return Response.json({ error: "not found", code: "not_found", correlation_id: id }, {
    status: 404,
    headers: { "x-correlation-id": id },
  });
}
