// A patient session beside others: sends a small command every few milliseconds and measures how long each answer
// takes. Arguments: port, tls, user, password. Prints {"listening":port} when logged in, then answers each line on
// standard input with one JSON line: the latencies since the line before.
import { writeSync } from "node:fs";
import process from "node:process";
import { createInterface } from "node:readline";
import { Latencies } from "./latency.ts";
import { LoadConnection } from "./load_connection.ts";

const everyMs = 5;
const [port = "0", tls = "starttls", user = "", password = ""] = Deno.args;
const connection = await LoadConnection.open({
  host: "127.0.0.1",
  port: Number(port),
  tls: tls === "none" || tls === "implicit" ? tls : "starttls",
  user,
  password,
});
let latencies = new Latencies();

/** The library and we count commands that do nothing, so every so often a transaction is begun and dropped. */
async function ask(number: number): Promise<void> {
  const began = performance.now();
  const line = number % 2 === 0 ? "MAIL FROM:<bench@example.com>\r\n" : "RSET\r\n";
  const { code } = await connection.command(line);
  if (code !== 250) throw new Error(`Cannot go on probing: ${line.trim()} was answered ${code}`);
  latencies.add(performance.now() - began);
}

async function probe(): Promise<never> {
  for (let number = 0;; number++) {
    await ask(number);
    await new Promise((resolve) => setTimeout(resolve, everyMs));
  }
}

writeSync(1, JSON.stringify({ listening: Number(port) }) + "\n");
probe();
for await (const _line of createInterface({ input: process.stdin })) {
  writeSync(1, JSON.stringify(latencies.summary()) + "\n");
  latencies = new Latencies();
}
process.exit(0);
