import type { Hook, OpenAPIHono } from "@hono/zod-openapi";
import type { Context, MiddlewareHandler } from "hono";
import { HTTPException } from "hono/http-exception";
import { Refusal } from "../../lib/refusal.ts";
import type { Authenticate } from "./access/authenticate.ts";
import { authorize, type Principal } from "./access/principal.ts";
import type { Call } from "./call.ts";
import { routeOf } from "./openapi.ts";
import type { Operation } from "./operation.ts";

/** What travels with a request through the library. */
export interface ApiEnv {
  Bindings: {
    readonly call: Call;
    readonly onRoute: (path: string) => void;
    readonly bytes: Uint8Array<ArrayBuffer>;
  };
  Variables: { principal?: Principal; operation?: Operation };
}

/** Puts operations on the app: authentication and permission first, then validation, then the handler. */
export function mount(
  app: OpenAPIHono<ApiEnv>,
  operations: readonly Operation[],
  authenticate: Authenticate,
): void {
  for (const operation of operations) {
    const middleware = [gate(operation, authenticate)];
    app.openapi(
      { ...routeOf(operation), middleware },
      (context) => answer(operation, context as Context<ApiEnv>),
    );
  }
}

function gate(operation: Operation, authenticate: Authenticate): MiddlewareHandler<ApiEnv> {
  return async (context, next) => {
    context.set("operation", operation);
    context.env.onRoute(operation.path);
    if (operation.action !== "public") {
      const principal = await authenticate(context.req.raw.headers);
      authorize(principal, operation.action);
      context.set("principal", principal);
    }
    // The library would answer it by the handler of GET, which does more than to say how long the answer is.
    if (context.req.raw.method === "HEAD" && operation.answerType !== undefined) {
      throw new Refusal("method_not_allowed", "this path takes GET", { details: ["GET"] });
    }
    if (operation.query === undefined && /\?./.test(context.req.url)) {
      throw new Refusal("request_invalid", "this call takes no query parameters");
    }
    if (operation.body === undefined && operation.bodyTypes === undefined && !isEmpty(context.env.bytes)) {
      throw new Refusal("request_invalid", "this call takes no body");
    }
    await next();
  };
}

async function answer(operation: Operation, context: Context<ApiEnv>): Promise<Response> {
  const valid = context.req as unknown as { valid(part: "param" | "query" | "json"): unknown };
  const params = operation.params === undefined ? undefined : valid.valid("param");
  const query = operation.query === undefined ? undefined : valid.valid("query");
  const body = operation.body === undefined ? undefined : valid.valid("json");
  for (const part of [params, query, body]) refuseUnstorable(part);
  const result = await operation.handle({
    params,
    query,
    body,
    principal: context.get("principal"),
    call: context.env.call,
    raw: context.req.raw,
    bytes: context.env.bytes,
    setHeader: (name, value) => context.header(name, value),
  });
  if (result instanceof Response) return result;
  if (operation.answerType !== undefined) {
    return context.body(result as string | Uint8Array<ArrayBuffer>, 200, {
      "content-type": operation.answerType,
    });
  }
  if (operation.answer === undefined) return context.body(null, 204);
  return context.json(result, operation.answer.status);
}

/** Nothing, or an object without fields, as some clients send it with everything. */
function isEmpty(bytes: Uint8Array): boolean {
  return bytes.length === 0 ||
    (bytes.length < 100 && /^\s*(\{\s*\})?\s*$/.test(new TextDecoder().decode(bytes)));
}

/** PostgreSQL keeps no NUL in a text and no half of a character in JSON, and no text needs one. */
function refuseUnstorable(value: unknown): void {
  if (typeof value === "string") {
    if (value.includes("\0")) throw unstorable("a text may not contain the character NUL");
    if (!value.isWellFormed()) throw unstorable("a text may not contain half of a character");
  }
  if (typeof value !== "object" || value === null) return;
  for (const [key, part] of Object.entries(value)) {
    refuseUnstorable(key);
    refuseUnstorable(part);
  }
}

function unstorable(sentence: string): Refusal {
  return new Refusal("request_invalid", sentence);
}

/** Turns what validation found into a refusal: the first fault's sentence, its field, and all faults. */
export const refuseInvalid: Hook<unknown, ApiEnv, string, void> = (result, context) => {
  if (result.success) return;
  const issues = result.error.issues.slice(0, 20).map(({ path, message, code }) => ({
    field: code === "unrecognized_keys" ? "" : path.join("."),
    message,
  }));
  const details = issues.map(({ field, message }) =>
    field === "" || message.startsWith(field) ? message : `${field}: ${message}`
  );
  const field = issues[0]?.field;
  const sentence = context.get("operation")?.invalidSentence ?? issues[0]?.message ?? "invalid request";
  throw new Refusal("request_invalid", sentence, { details, ...(field ? { field } : {}) });
};

/** What the library itself throws, as a refusal; undefined for everything else. */
export function refusalOf(error: unknown): Refusal | undefined {
  if (error instanceof Refusal) return error;
  if (!(error instanceof HTTPException)) return undefined;
  if (error.status === 415) {
    return new Refusal("media_type_unsupported", "the content type is not one that is taken");
  }
  if (error.status === 413) return new Refusal("request_too_large", "the request is too large");
  return error.status === 400 ? new Refusal("request_invalid", "invalid request body") : undefined;
}

/** Refuses a path that no operation has, or that has other methods. */
export function notFound(operations: readonly Operation[]): (context: Context<ApiEnv>) => never {
  const paths = operations.map(({ path, method }) => ({
    method: method.toUpperCase(),
    form: new RegExp(`^${path.replaceAll(".", "\\.").replace(/\{[^}]+\}/g, "[^/]+")}$`),
  }));
  return (context) => {
    const allowed = paths.filter(({ form }) => form.test(context.req.path)).map(({ method }) => method);
    if (allowed.length === 0) throw new Refusal("not_found", "not found");
    throw new Refusal("method_not_allowed", `this path takes ${allowed.join(", ")}`, { details: allowed });
  };
}
