import { OpenAPIHono } from "@hono/zod-openapi";
import { TooManyWaiting } from "../../lib/coalesce.ts";
import { Late, withinTime } from "../../lib/deadlines.ts";
import { isOutage, isRetryable, sqlState } from "../../lib/postgres/faults.ts";
import { Refusal } from "../../lib/refusal.ts";
import type { LogFields } from "../../lib/telemetry/log_fields.ts";
import type { Asker } from "../../lib/telemetry/ops.ts";
import type { Authenticate } from "./access/authenticate.ts";
import { type Call, callOf, clientAddresses } from "./call.ts";
import { docsPage, docsStyle } from "./docs_page.ts";
import { type ApiEnv, mount, notFound, refusalOf, refuseInvalid } from "./mount.ts";
import { documentOf } from "./openapi.ts";
import type { Operation } from "./operation.ts";
import { faultResponse, refusalResponse } from "./problems.ts";
import { readRequest } from "./read_request.ts";

/** What the app is made of. */
export interface AppOptions {
  /** `/healthz`, `/readyz` and `/metrics`; undefined for every other path. */
  readonly operations: (request: Request, asker: Asker) => Promise<Response | undefined>;
  /** Everything below `/api/v1`. */
  readonly api: readonly Operation[];
  readonly authenticate: Authenticate;
  readonly limits: AppLimits;
  /** Told of every request: its route (never the path itself), status and duration. */
  readonly onRequest: (
    method: string,
    route: string,
    status: number,
    seconds: number,
    fields: LogFields,
  ) => void;
  /** Told of what is thrown that is no refusal; the client sees 500 without detail. */
  readonly onFault: (error: unknown, fields: LogFields) => void;
}

/** What a request may cost, and who is believed. */
export interface AppLimits {
  readonly maxBody: number;
  readonly readTimeout: number;
  readonly writeTimeout: number;
  /** Networks of proxies whose X-Forwarded-For is believed. */
  readonly trustedNetworks: readonly string[];
  /** Origins whose pages may call the API. */
  readonly corsOrigins: readonly string[];
}

/** An HTTP application that can be called without listening anywhere. */
export type App = (request: Request, asker: Asker) => Promise<Response>;

/** The HTTP side of the API server: operations, the API, its document and the page that shows it. */
export function createApp(options: AppOptions): App {
  const { operations, limits, onRequest, onFault } = options;
  const inner = createRoutes(options);
  const addressOf = clientAddresses(limits.trustedNetworks);
  return async (request, asker) => {
    const start = performance.now();
    const answered = await operations(request, asker);
    let route = answered === undefined ? "none" : new URL(request.url).pathname;
    const call = callOf(request.headers, addressOf(request.headers, asker.remoteAddress));
    const response = answered ?? preflight(request, limits) ?? await answerApi(request, call);
    if (answered === undefined) secure(response, request, call, limits);
    const { correlationId, address: remoteAddress } = call;
    const seconds = (performance.now() - start) / 1000;
    onRequest(request.method, route, response.status, seconds, { correlationId, remoteAddress });
    return response;

    async function answerApi(request: Request, call: Call): Promise<Response> {
      try {
        const read = await readRequest(request, limits.maxBody, limits.readTimeout);
        const onRoute = (path: string) => void (route = path);
        const answer = inner.fetch(read.request, { call, onRoute, bytes: read.bytes });
        return await withinTime(limits.writeTimeout, Promise.resolve(answer));
      } catch (error) {
        return failed(error, call, onFault);
      }
    }
  };
}

function createRoutes({ api, authenticate, onFault }: AppOptions): OpenAPIHono<ApiEnv> {
  const app = new OpenAPIHono<ApiEnv>({ defaultHook: refuseInvalid });
  mount(app, api, authenticate);
  const document = documentOf(app);
  const documentText = JSON.stringify(document);
  const page = docsPage(document);
  app.get("/openapi.json", (c) => c.body(documentText, 200, { "content-type": "application/json" }));
  app.get("/docs", (c) => c.html(page));
  app.get("/docs/style.css", (c) => c.body(docsStyle, 200, { "content-type": "text/css; charset=utf-8" }));
  app.notFound(notFound(api));
  app.onError((error, c) => failed(error, c.env.call, onFault));
  return app;
}

function failed(error: unknown, { correlationId }: Call, onFault: AppOptions["onFault"]): Response {
  const refusal = error instanceof Late ? tooLate : refusalOf(error) ?? outage(error);
  if (refusal?.options.cause !== undefined) onFault(refusal.options.cause, { correlationId });
  if (refusal !== undefined) return refusalResponse(refusal, correlationId);
  onFault(error, { correlationId });
  return faultResponse(correlationId);
}

const tooLate = new Refusal("database_down", "the request took too long", { retryAfter: 30 });

/** What will pass: the database is down, in a tangle, too slow, or has too many waiting. */
function outage(cause: unknown): Refusal | undefined {
  if (!(cause instanceof Error)) return undefined;
  const passes = isRetryable(cause) || sqlState(cause) === "57014" || cause instanceof TooManyWaiting;
  // A bug of ours has no SQLSTATE either: only what the driver throws is an outage.
  const isOfDriver = sqlState(cause) !== undefined ||
    /ECONN|ETIMEDOUT|EPIPE|terminated|timeout/i.test(`${Reflect.get(cause, "code")} ${cause.message}`);
  if (!passes && !(isOfDriver && isOutage(cause))) return undefined;
  return new Refusal("database_down", "database unavailable", { cause });
}

const securityHeaders = [
  ["x-content-type-options", "nosniff"],
  ["x-frame-options", "DENY"],
  ["referrer-policy", "no-referrer"],
  ["cross-origin-resource-policy", "same-origin"],
  [
    "content-security-policy",
    "default-src 'none'; style-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
  ],
] as const;

function secure(response: Response, request: Request, call: Call, limits: AppLimits): void {
  const { headers } = response;
  // No handler sets them, and adding costs less than replacing.
  for (const [name, value] of securityHeaders) headers.append(name, value);
  headers.set("x-correlation-id", call.correlationId);
  if (!headers.has("cache-control")) headers.append("cache-control", "no-store");
  const origin = allowedOrigin(request, limits);
  if (limits.corsOrigins.length > 0) headers.append("vary", "Origin");
  if (origin === undefined) return;
  headers.set("access-control-allow-origin", origin);
  headers.set("access-control-expose-headers", "X-Correlation-ID, X-Next-Cursor, Link, Retry-After");
  headers.set("cross-origin-resource-policy", "cross-origin");
}

function allowedOrigin(request: Request, { corsOrigins }: AppLimits): string | undefined {
  if (corsOrigins.length === 0) return undefined;
  const origin = request.headers.get("origin");
  return origin !== null && corsOrigins.includes(origin) ? origin : undefined;
}

function preflight(request: Request, limits: AppLimits): Response | undefined {
  if (request.method !== "OPTIONS" || allowedOrigin(request, limits) === undefined) return undefined;
  return new Response(null, {
    status: 204,
    headers: {
      "access-control-allow-methods": "GET, POST, PUT, PATCH, DELETE",
      "access-control-allow-headers": "Authorization, Content-Type, X-Correlation-ID, X-Group-ID",
      "access-control-max-age": "600",
    },
  });
}
