import type { z } from "@hono/zod-openapi";
import type { Action } from "./access/permissions.ts";
import type { Principal } from "./access/principal.ts";
import type { Call } from "./call.ts";

/** One request as a handler sees it: validated, authenticated and allowed. */
export interface ApiRequest<Params, Query, Body, Who> {
  readonly params: Params;
  readonly query: Query;
  readonly body: Body;
  readonly principal: Who;
  readonly call: Call;
  /** For its URL and headers; its body has been read. */
  readonly raw: Request;
  /** The body as it arrived, for signatures; at most `api.max_body`. */
  readonly bytes: Uint8Array<ArrayBuffer>;
  /** Sets a header of the answer. */
  setHeader(name: string, value: string): void;
}

interface Shape<
  Params extends z.ZodType,
  Query extends z.ZodType,
  Body extends z.ZodType,
  Answer extends z.ZodType,
> {
  readonly method: "get" | "post" | "put" | "patch" | "delete";
  /** With parameters in braces. */
  readonly path: `/${string}`;
  readonly tag: string;
  readonly summary: string;
  readonly description?: string;
  readonly params?: Params;
  readonly query?: Query;
  readonly body?: Body;
  /**
   * Instead of `body`: content types that are taken as they are, `any/any` written with stars for all; the handler reads `bytes`.
   * A `body` is always JSON.
   */
  readonly bodyTypes?: readonly string[];
  /** The sentence of an invalid request, where it is documented to be another than the first fault's. */
  readonly invalidSentence?: string;
  /** 204 when not given. */
  readonly answer?: {
    readonly status: 200 | 201 | 202;
    readonly schema: Answer;
    readonly description?: string;
  };
  /** A body that is no JSON: its content type; the handler answers bytes or text. */
  readonly answerType?: string;
}

/** One route: what it takes, who may use it, what it answers. */
export interface Operation extends Shape<z.ZodType, z.ZodType, z.ZodType, z.ZodType> {
  readonly action: Action | "public";
  handle(request: ApiRequest<unknown, unknown, unknown, Principal | undefined>): Promise<unknown>;
}

type Handle<P extends z.ZodType, Q extends z.ZodType, B extends z.ZodType, A extends z.ZodType, Who> = (
  request: ApiRequest<z.output<P>, z.output<Q>, z.output<B>, Who>,
) => Promise<z.input<A>>;

/** A route for principals whom the table of permissions lets do `action`. */
export function operation<
  P extends z.ZodType = z.ZodUndefined,
  Q extends z.ZodType = z.ZodUndefined,
  B extends z.ZodType = z.ZodUndefined,
  A extends z.ZodType = z.ZodVoid,
>(
  shape: Shape<P, Q, B, A> & { readonly action: Action; readonly handle: Handle<P, Q, B, A, Principal> },
): Operation {
  return shape as unknown as Operation;
}

/** A route that needs no principal. */
export function publicOperation<
  P extends z.ZodType = z.ZodUndefined,
  Q extends z.ZodType = z.ZodUndefined,
  B extends z.ZodType = z.ZodUndefined,
  A extends z.ZodType = z.ZodVoid,
>(shape: Shape<P, Q, B, A> & { readonly handle: Handle<P, Q, B, A, undefined> }): Operation {
  return { ...shape, action: "public" } as unknown as Operation;
}
