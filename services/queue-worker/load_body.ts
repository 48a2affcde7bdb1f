import type { Esp } from "../../lib/esp/esp.ts";
import type { Message } from "../../lib/messages/message.ts";
import { readInlineBody } from "../../lib/messages/claims_table.ts";
import { sleepFor } from "../../lib/retry.ts";
import type { Body } from "../../lib/store/body.ts";
import { DamagedBody } from "../../lib/store/file_body.ts";
import { memoryBody } from "../../lib/store/memory_body.ts";
import type { Crew } from "./crew.ts";
import { Interrupted } from "./interrupted.ts";

/** A message's bytes, or why there are none: a store that is down is not a body that is gone (ruling 3.4). */
export type BodyAnswer =
  | { readonly kind: "found"; readonly body: Body }
  | { readonly kind: "gone" }
  | { readonly kind: "down"; readonly error: unknown };

/** Reads a body, and again after each delay while it is not there. Throws `Interrupted` when drained meanwhile. */
export async function loadBody(message: Message, crew: LoadCrew, signal: AbortSignal): Promise<BodyAnswer> {
  for (let tries = 0;; tries++) {
    const answer = await readOnce(message, crew, signal);
    const delayMs = crew.terms.bodyDelaysMs[tries];
    if (answer.kind === "found" || delayMs === undefined) return answer;
    await sleepFor(delayMs, signal);
    signal.throwIfAborted();
    if (crew.draining.aborted) throw new Interrupted("draining");
  }
}

/** The part of the crew that reads bodies. */
export type LoadCrew = Pick<Crew, "store" | "sql" | "terms" | "draining">;

async function readOnce(message: Message, crew: LoadCrew, signal: AbortSignal): Promise<BodyAnswer> {
  try {
    const body = await read(message, crew);
    if (body === undefined) return { kind: "gone" };
    if (!mayBeDamaged(message) || await isSound(body, [signal, crew.draining])) {
      return { kind: "found", body };
    }
    await body[Symbol.asyncDispose]();
    return { kind: "gone" };
  } catch (error) {
    if (error instanceof Interrupted) throw error;
    return { kind: "down", error };
  }
}

async function read(message: Message, { store, sql }: LoadCrew): Promise<Body | undefined> {
  if (message.storageRef !== "inline") return await store.get(message.storageRef);
  const bytes = await readInlineBody(sql, message.id);
  return bytes && memoryBody(bytes);
}

/** It could not be read to its end, or that is one of few reasons for why it waits. */
function mayBeDamaged({ recipients }: Message): boolean {
  return recipients.some(({ lastCause }) => lastCause === "unavailable" || lastCause === "store_down");
}

/** Whether the bytes are those that were stored, which is known of a large body at its end only. */
async function isSound(body: Body, signals: readonly AbortSignal[]): Promise<boolean> {
  try {
    for await (const _ of body.stream()) for (const signal of signals) signal.throwIfAborted();
    return true;
  } catch (error) {
    if (error instanceof DamagedBody) return false;
    await body[Symbol.asyncDispose]();
    throw error;
  }
}

const smallBody = 256 * 1024;
const largeBodyShare = 3 * 1024 * 1024;

/**
 * Memory one delivery of a body of this size takes (ruling 3.2): small ones are held with what is made of them, large
 * ones stream, unless an ESP of the route names what it holds for each byte.
 */
export function memoryFor(size: number, esps: readonly (MemoryUser | undefined)[]): number {
  const perByte = Math.max(0, ...esps.map((esp) => takesAny(size, esp) ? leastOf(esp?.memoryPerByte) : 0));
  return Math.max(Math.ceil(perByte * size), size <= smallBody ? 3 * size : largeBodyShare);
}

/** Where a body is gathered at all, the HTTP client and the garbage of a moment ago take room as well: measured. */
function leastOf(memoryPerByte: number | undefined): number {
  return memoryPerByte === undefined ? 0 : Math.max(5, memoryPerByte);
}

/** What decides about the memory. */
export type MemoryUser = Pick<Esp, "memoryPerByte" | "limits">;

/** A message that is too large for an ESP is refused unread. */
function takesAny(size: number, esp: MemoryUser | undefined): boolean {
  return esp !== undefined && size <= esp.limits.bytes;
}
