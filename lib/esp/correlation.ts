import { AsyncLocalStorage } from "node:async_hooks";

const current = new AsyncLocalStorage<string>();

/** Runs a call to a service so that its requests name the session that brought the message. */
export function withCorrelation<T>(correlationId: string, work: () => T): T {
  return current.run(correlationId, work);
}

/** The field that names that session to a service, which may show it in a log of its own; empty outside of a call. */
export function correlationField(): Readonly<Record<string, string>> {
  const id = current.getStore();
  return id === undefined ? {} : { "x-correlation-id": id };
}
