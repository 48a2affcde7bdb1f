/** What a span tells besides its name and times; never addresses, never secrets. */
export type SpanAttributes = Readonly<Record<string, string | number | boolean>>;

/** One part of a trace, from its start until `end`. */
export interface Span {
  /** Names it to whoever goes on with its trace elsewhere (W3C Trace Context). */
  readonly traceparent: string;
  set(attributes: SpanAttributes): void;
  /** It did not end well; the message of an error is told, nothing else of it. */
  fail(error: unknown): void;
  end(): void;
  /** Runs work of which all spans are below this one, those that Deno makes for requests included. */
  run<T>(work: () => T): T;
}

/** Where a span begins. */
export interface SpanStart {
  /** A span of this process, or the `traceparent` of another; else it is the first of a trace. */
  readonly parent?: Span | string | undefined;
  readonly attributes?: SpanAttributes;
  /** Milliseconds since 1970, for what began earlier. */
  readonly startTimeMs?: number;
}

interface SpanContext {
  readonly traceId: string;
  readonly spanId: string;
  readonly traceFlags: number;
  readonly isRemote?: boolean;
}

interface ContextLike {
  getValue(key: symbol): unknown;
  setValue(key: symbol, value: unknown): ContextLike;
  deleteValue(key: symbol): ContextLike;
}

interface SpanLike {
  spanContext(): SpanContext;
  setAttributes(attributes: SpanAttributes): unknown;
  setStatus(status: { readonly code: number; readonly message?: string }): unknown;
  end(): void;
}

interface TracerLike {
  startSpan(name: string, options: Readonly<Record<string, unknown>>, context: ContextLike): SpanLike;
}

interface ContextManagerLike {
  active(): ContextLike;
  with<T>(context: ContextLike, work: () => T): T;
}

/** By this name every part of OpenTelemetry in the process finds the span of a context. */
const spanKey = Symbol.for("OpenTelemetry Context Key SPAN");
const errorStatus = 2;

const contexts: ContextManagerLike = Deno.telemetry.contextManager;
class Context implements ContextLike {
  readonly #values: ReadonlyMap<symbol, unknown>;

  constructor(values: ReadonlyMap<symbol, unknown>) {
    this.#values = values;
  }

  getValue(key: symbol): unknown {
    return this.#values.get(key);
  }

  setValue(key: symbol, value: unknown): ContextLike {
    return new Context(new Map([...this.#values, [key, value]]));
  }

  deleteValue(key: symbol): ContextLike {
    return new Context(new Map([...this.#values].filter(([other]) => other !== key)));
  }
}

const tracer = openTracer();

/** Whether spans are made: `OTEL_DENO=true` was set when the process began. */
export const isTracing = tracer !== undefined;

/** Begins a span; undefined, at once and without any cost, while tracing is off. */
export function startSpan(name: string, start: SpanStart = {}): Span | undefined {
  if (tracer === undefined) return undefined;
  const { parent, attributes, startTimeMs } = start;
  const options = {
    ...attributes !== undefined && { attributes },
    ...startTimeMs !== undefined && { startTime: startTimeMs },
  };
  return new OpenSpan(tracer.startSpan(name, options, contextOf(parent)));
}

class OpenSpan implements Span {
  readonly inner: SpanLike;

  constructor(inner: SpanLike) {
    this.inner = inner;
  }

  get traceparent(): string {
    const { traceId, spanId, traceFlags } = this.inner.spanContext();
    return `00-${traceId}-${spanId}-${traceFlags.toString(16).padStart(2, "0")}`;
  }

  set(attributes: SpanAttributes): void {
    this.inner.setAttributes(attributes);
  }

  fail(error: unknown): void {
    const message = error instanceof Error ? error.message : String(error);
    this.inner.setStatus({ code: errorStatus, message: message.slice(0, 300) });
  }

  end(): void {
    this.inner.end();
  }

  run<T>(work: () => T): T {
    return contexts.with(contexts.active().setValue(spanKey, this.inner), work);
  }
}

/** The parent as OpenTelemetry wants it. */
function contextOf(parent: SpanStart["parent"]): ContextLike {
  if (parent instanceof OpenSpan) return new Context(new Map([[spanKey, parent.inner]]));
  const remote = typeof parent === "string" ? parseTraceparent(parent) : undefined;
  if (remote === undefined) return new Context(new Map());
  return new Context(new Map([[spanKey, { spanContext: () => remote }]]));
}

/** The ids of a `traceparent`; undefined for what is none. */
export function parseTraceparent(text: string): SpanContext | undefined {
  const found = /^00-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})$/.exec(text);
  if (found === null) return undefined;
  const [, traceId = "", spanId = "", flags = ""] = found;
  return { traceId, spanId, traceFlags: parseInt(flags, 16), isRemote: true };
}

/** Deno tells that tracing is off by refusing to begin a span; asking the variable would take a permission. */
function openTracer(): TracerLike | undefined {
  const opened: TracerLike = Deno.telemetry.tracerProvider.getTracer("smtp-proxy");
  try {
    opened.startSpan("start", {}, new Context(new Map())); // never ended, so never told
    return opened;
  } catch (error) {
    if (error instanceof Error && /not initialized/.test(error.message)) return undefined;
    throw error;
  }
}
