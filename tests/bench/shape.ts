// Sends one message whose body has an awkward shape. Arguments: port, tls, user, password, shape, bytes.
// Prints one JSON line.
import { Buffer } from "node:buffer";
import { writeSync } from "node:fs";
import { LoadConnection } from "./load_connection.ts";
import { isShapeName, piecesOf } from "./shapes.ts";

/** How a message of one shape ended. */
export interface ShapeReport {
  readonly reply: string;
  readonly seconds: number;
}

const [port = "0", tls = "starttls", user = "", password = "", shape = "", bytes = "0"] = Deno.args;
if (!isShapeName(shape)) throw new TypeError(`Cannot send shape ${shape}: there is none of that name`);
const connection = await LoadConnection.open({
  host: "127.0.0.1",
  port: Number(port),
  tls: tls === "none" || tls === "implicit" ? tls : "starttls",
  user,
  password,
});
for (const line of ["MAIL FROM:<bench@example.com>\r\n", "RCPT TO:<user0@example.net>\r\n", "DATA\r\n"]) {
  const reply = await connection.command(line);
  if (reply.code >= 400) {
    throw new Error(`Cannot send a body: ${line.trim()} was answered ${reply.code} ${reply.text}`);
  }
}
const began = performance.now();
const answer = connection.reply();
await write("From: <bench@example.com>\r\nSubject: Shape\r\n\r\n");
let isAnswered = false;
const answered = answer.then(() => void (isAnswered = true));
for (const piece of piecesOf(shape, Number(bytes))) {
  // Who is answered before the end is not listened to any more.
  if (isAnswered) break;
  await Promise.race([piece.length === 1 ? connection.writeAlone(piece) : connection.write(piece), answered]);
}
if (!isAnswered) await write("\r\n.\r\n");
const reply = await answer;
const report: ShapeReport = {
  reply: `${reply.code} ${reply.text}`,
  seconds: (performance.now() - began) / 1_000,
};
connection.close();
writeSync(1, JSON.stringify(report) + "\n");

async function write(text: string): Promise<void> {
  await connection.write(Buffer.from(text, "latin1"));
}
