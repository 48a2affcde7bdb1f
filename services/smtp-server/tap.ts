import type { Socket } from "node:net";

/**
 * Turns the reads of a TCP socket off and on, beneath TLS and whatever else stands on it: what is not read stays with
 * the kernel, and TCP slows the client. A TLSSocket's own `pause()` goes on taking in all that comes (Deno 2.9.6), and
 * a plain socket's takes in 64 KiB more, each packet by itself.
 */
export class Tap {
  readonly #socket: Socket;
  #isClosed = false;

  /** The socket must be the one that TLS is put on, not the TLSSocket. */
  constructor(socket: Socket) {
    this.#socket = socket;
  }

  /** What has come over the wire so far, TLS's own bytes included. */
  bytesRead(): number {
    return this.#socket.bytesRead;
  }

  /** Nothing more is read; the read under way may still bring one chunk (64 KiB). May be called again. */
  close(): void {
    this.#isClosed = true;
    this.#handle("readStop");
  }

  /** Reading goes on; the client's end is not seen before. */
  open(): void {
    if (!this.#isClosed) return;
    this.#isClosed = false;
    this.#handle("readStart");
  }

  #handle(method: "readStop" | "readStart"): void {
    const { _handle: handle } = this.#socket as Socket & { readonly _handle?: Handle | null };
    // A socket that has been destroyed has no handle, and nothing to read.
    handle?.[method]();
  }
}

/** What node:net calls the stream's handle; its names are as old as Node's. */
interface Handle {
  readStart(): number;
  readStop(): number;
}
