import { createRoute, type OpenAPIHono, type RouteConfig, z } from "@hono/zod-openapi";
import { version } from "../../lib/version.ts";
import type { Operation } from "./operation.ts";

/** Every error's body, for the document. */
const problem = z.object({
  error: z.string().meta({ description: "What is wrong, as a sentence" }),
  code: z.string().meta({ description: "The reason, stable and for programs" }),
  field: z.string().optional().meta({ description: "The field of the request at fault" }),
  details: z.array(z.string()).optional().meta({ description: "Every fault found" }),
  "correlation_id": z.string().meta({ description: "As in the header X-Correlation-ID and in our log" }),
}).openapi("Problem");

const sentences = {
  400: "The request is not valid",
  401: "Nobody is authenticated",
  403: "The role or the key does not allow it",
  404: "There is no such thing, or it is not yours to see",
  405: "The path has other methods",
  408: "The request took too long to arrive",
  409: "The state of things does not allow it",
  413: "The request is too large",
  415: "The content type is not one that is taken",
  429: "Too many requests of this kind; Retry-After says when to come again",
  500: "Something is wrong with us",
  503: "Something that is needed is down; Retry-After says when to come again",
} as const;

const problemContent = { "application/json": { schema: problem } };
const problems = Object.fromEntries(
  Object.entries(sentences).map((
    [status, description],
  ) => [status, { description, content: problemContent }]),
);

/** The route of an operation as the library takes it: what it validates and what its document says. */
export function routeOf(operation: Operation): RouteConfig {
  const { method, path, tag, summary, description, params, query, body, action, answer, answerType } =
    operation;
  // Without a schema of the library's own nothing is parsed, so that the handler has the bytes.
  const content = body === undefined
    ? Object.fromEntries((operation.bodyTypes ?? []).map((type) => [type, { schema: {} }]))
    : { "application/json": { schema: body } };
  const takesBody = Object.keys(content).length > 0;
  return createRoute({
    method,
    path,
    tags: [tag],
    summary,
    operationId: `${method}${
      path.replace(/^\/api\/v1/, "").replace(/[^A-Za-z0-9]+/g, "_").replace(/_$/, "")
    }`,
    ...(description === undefined ? {} : { description }),
    security: action === "public" ? [] : [{ bearer: [] }],
    "x-action": action,
    request: {
      ...(params === undefined ? {} : { params: params as z.ZodObject }),
      ...(query === undefined ? {} : { query: query as z.ZodObject }),
      ...(takesBody ? { body: { required: true, content } } : {}),
    },
    responses: {
      ...problems,
      ...answerOf(answer, answerType),
    },
  });
}

function answerOf(answer: Operation["answer"], answerType: string | undefined): RouteConfig["responses"] {
  if (answerType !== undefined) {
    const schema = z.string().meta({ format: "binary" });
    return { 200: { description: "Done", content: { [answerType]: { schema } } } };
  }
  if (answer === undefined) return { 204: { description: "Done" } };
  const description = answer.description ?? "Done";
  return { [answer.status]: { description, content: { "application/json": { schema: answer.schema } } } };
}

/** The OpenAPI 3.1 document of everything that was mounted. */
export function documentOf(app: Pick<OpenAPIHono, "openAPIRegistry" | "getOpenAPI31Document">) {
  app.openAPIRegistry.registerComponent("securitySchemes", "bearer", {
    type: "http",
    scheme: "bearer",
    description: "An access token of POST /api/v1/auth/login, or an API key",
  });
  return app.getOpenAPI31Document({
    openapi: "3.1.0",
    info: {
      title: "smtp-proxy",
      version,
      description:
        "Errors have one shape (Problem). Lists page by cursor: X-Next-Cursor names the next page. " +
        "System administrators name the group they act in by the header X-Group-ID.",
    },
    servers: [{ url: "/" }],
  });
}

/** The document as it is served. */
export type ApiDocument = ReturnType<typeof documentOf>;
