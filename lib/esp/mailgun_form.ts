import type { Outgoing } from "../mime/outgoing.ts";

/** A form with one file in it, ready to be sent (RFC 7578). */
export interface MessageForm {
  readonly contentType: string;
  readonly body: Uint8Array;
}

/** A field of a form; its value is ASCII without line ends. */
export interface FormField {
  readonly name: string;
  readonly value: string;
}

/** The fields in their order, then the message as a file named `message`; its bytes are copied once. */
export async function messageForm(fields: readonly FormField[], message: Outgoing): Promise<MessageForm> {
  const boundary = `smtp-proxy-${crypto.getRandomValues(new Uint8Array(24)).toHex()}`;
  const file = 'name="message"; filename="message.mime"\r\nContent-Type: message/rfc822';
  const head = new TextEncoder().encode(
    fields.map(({ name, value }) => part(boundary, `name="${name}"`, plain(value))).join("") +
      part(boundary, file, "").slice(0, -2),
  );
  const tail = new TextEncoder().encode(`\r\n--${boundary}--\r\n`);
  const body = new Uint8Array(head.length + message.size + tail.length);
  body.set(head);
  let at = head.length;
  for await (const piece of message.stream()) {
    if (at + piece.length > body.length - tail.length) throw new Error("The body is longer than it says");
    body.set(piece, at);
    at += piece.length;
  }
  if (at !== head.length + message.size) throw new Error("The body is shorter than it says");
  body.set(tail, at);
  return { contentType: `multipart/form-data; boundary=${boundary}`, body };
}

function part(boundary: string, disposition: string, value: string): string {
  return `--${boundary}\r\nContent-Disposition: form-data; ${disposition}\r\n\r\n${value}\r\n`;
}

function plain(value: string): string {
  if (/[^\x20-\x7e]/.test(value)) {
    throw new TypeError(`Cannot write form field: current value is ${JSON.stringify(value)}`);
  }
  return value;
}
