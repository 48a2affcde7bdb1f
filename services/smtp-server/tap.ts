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
    this.#handle?.readStop();
  }

  /** Reading goes on; the client's end is not seen before. */
  open(): void {
    if (!this.#isClosed) return;
    this.#isClosed = false;
    this.#handle?.readStart();
  }

  /**
   * From now on what TLS has read and decrypted is freed at once: left to the collector, it took half the memory of a
   * server that receives large messages. To be called once, when TLS is on the socket. A runtime that does not read
   * through `onread` is none the worse for it.
   */
  freeTaken(): void {
    const handle = this.#handle;
    const onread = handle?.onread;
    if (!handle || !onread) return;
    handle.onread = function (taken) {
      onread.call(this, taken);
      if (taken instanceof ArrayBuffer) freeMemory(taken);
    };
    // A handle calls the function that it was started with.
    if (this.#isClosed) return;
    handle.readStop();
    handle.readStart();
  }

  /** A socket that has been destroyed has none, and nothing to read. */
  get #handle(): Handle | undefined {
    const { _handle: handle } = this.#socket as Socket & { readonly _handle?: Handle | null };
    return handle ?? undefined;
  }
}

/** Frees memory that nobody looks at any more, where it is worth the call. */
export function freeMemory(buffer: ArrayBufferLike): void {
  if (buffer instanceof ArrayBuffer && buffer.byteLength >= 4096) buffer.transfer(0);
}

/** What node:net calls the stream's handle; its names are as old as Node's. */
interface Handle {
  onread?: (this: Handle, taken: unknown) => void;
  readStart(): number;
  readStop(): number;
}
