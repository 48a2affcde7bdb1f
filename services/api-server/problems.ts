import { type Refusal, type RefusalClass, refusalClasses, type RefusalCode } from "../../lib/refusal.ts";

/** Every error's body (ruling 1.6). */
export interface Problem {
  /** A sentence. */
  readonly error: string;
  readonly code: RefusalCode | "internal";
  /** The field of the request at fault. */
  readonly field?: string;
  readonly details?: readonly string[];
  readonly "correlation_id": string;
}

/** The HTTP statuses that errors have. */
export type ProblemStatus = 400 | 401 | 403 | 404 | 405 | 408 | 409 | 413 | 415 | 429 | 500 | 503;

const statuses = {
  unauthenticated: 401,
  forbidden: 403,
  "not_found": 404,
  invalid: 400,
  "too_large": 413,
  conflict: 409,
  limited: 429,
  method: 405,
  slow: 408,
  unavailable: 503,
  unsupported: 415,
} as const satisfies Record<RefusalClass, ProblemStatus>;

/** The HTTP status of a reason. */
export function statusOf(code: RefusalCode): ProblemStatus {
  return statuses[refusalClasses[code]];
}

/** A refusal as a response. */
export function refusalResponse(refusal: Refusal, correlationId: string): Response {
  const { field, details, retryAfter } = refusal.options;
  const status = statusOf(refusal.code);
  const headers = new Headers();
  if (status === 401) headers.set("www-authenticate", "Bearer");
  if (status === 405) headers.set("allow", details?.join(", ") ?? "");
  if (retryAfter !== undefined) headers.set("retry-after", String(retryAfter));
  else if (status === 503) headers.set("retry-after", "30");
  return problemResponse(status, {
    error: refusal.message,
    code: refusal.code,
    ...(field === undefined ? {} : { field }),
    ...(details === undefined ? {} : { details }),
    "correlation_id": correlationId,
  }, headers);
}

/** A fault as a response: without any detail, which the log has under the same correlation id. */
export function faultResponse(correlationId: string): Response {
  const body = { error: "internal server error", code: "internal", "correlation_id": correlationId } as const;
  return problemResponse(500, body, new Headers());
}

function problemResponse(status: ProblemStatus, problem: Problem, headers: Headers): Response {
  headers.set("x-correlation-id", problem.correlation_id);
  return Response.json(problem, { status, headers });
}
