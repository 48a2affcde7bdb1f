// Guesses passwords: opens connections at a steady rate, each from one of many loopback addresses, each with one
// wrong password. Arguments: port, attempts a second, seconds. Prints one JSON line of replies.
import { writeSync } from "node:fs";
import { ConnectionLost, ConnectionRefused, LoadConnection } from "./load_connection.ts";

/** How the attempts of a flood were answered. */
export interface FloodReport {
  readonly attempts: number;
  /** Attempts that were not made because so many waited for an answer already. */
  readonly skipped: number;
  readonly perSecond: number;
  readonly answers: Readonly<Record<string, number>>;
}

const mostWaiting = 2_000;
const [port = 0, rate = 200, seconds = 10] = Deno.args.map(Number);
const answers: Record<string, number> = {};
let waiting = 0;
let attempts = 0;
let skipped = 0;

async function guess(number: number): Promise<void> {
  waiting++;
  attempts++;
  const answer = await answerTo(number);
  answers[answer] = (answers[answer] ?? 0) + 1;
  waiting--;
}

/** Half of the guesses are for the account that is in use, so that a lock of the account would show. */
async function answerTo(number: number): Promise<string> {
  const localAddress = `127.1.${Math.floor(number / 250) % 250}.${number % 250 + 1}`;
  const user = number % 2 === 0 ? "dev" : `user${number}`;
  const destination = { host: "127.0.0.1", port, tls: "starttls", user, password: `guess${number}` } as const;
  try {
    const connection = await LoadConnection.open({ ...destination, localAddress });
    connection.close();
    return "let in";
  } catch (error) {
    if (error instanceof ConnectionRefused) return String(error.reply.code);
    if (error instanceof ConnectionLost) return error.message;
    throw error;
  }
}

const began = performance.now();
const guesses: Promise<void>[] = [];
for (let number = 0; number < rate * seconds; number++) {
  const wait = began + number * 1_000 / rate - performance.now();
  if (wait > 0) await new Promise((resolve) => setTimeout(resolve, wait));
  if (waiting >= mostWaiting) skipped++;
  else guesses.push(guess(number));
}
const sentFor = (performance.now() - began) / 1_000;
await Promise.all(guesses);
const report: FloodReport = { attempts, skipped, perSecond: Math.round(attempts / sentFor), answers };
writeSync(1, JSON.stringify(report) + "\n");
