import assert from "node:assert/strict";
import { type SharedConnection, SharedConnections } from "./shared_connections.ts";

class Line implements SharedConnection<string> {
  readonly sent: string[] = [];
  readonly pieces: number[] = [];
  readonly released: (Error | undefined)[] = [];
  answer: (name: string) => Promise<string> = (name) => Promise.resolve(`answer to ${name}`);
  #corked = 0;
  connection = {
    stream: {
      cork: () => void (this.#corked = this.sent.length),
      uncork: () => void this.pieces.push(this.sent.length - this.#corked),
    },
  };

  query({ name }: { readonly name: string }): Promise<string> {
    this.sent.push(name);
    return this.answer(name);
  }

  readonly listeners: ((error?: Error) => void)[] = [];

  on(_: string, listener: (error?: Error) => void): void {
    this.listeners.push(listener);
  }

  release(broken?: Error): void {
    this.released.push(broken);
  }
}

function linesAnd(isLost = (_: unknown) => true) {
  const lines: Line[] = [];
  const shared = new SharedConnections<string>(() => {
    const line = new Line();
    lines.push(line);
    return Promise.resolve(line);
  }, isLost);
  return { lines, ask: (name: string) => shared.query({ name, text: "" }, []), shared };
}

function nextTurn(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, 1));
}

Deno.test("SharedConnections sends what is asked in one turn in one piece, on two connections at most", async () => {
  const { lines, ask, shared } = linesAnd();
  const answers = await Promise.all(["a", "b", "c", "d", "e", "f"].map(ask));
  await nextTurn();
  assert.deepEqual(answers, ["a", "b", "c", "d", "e", "f"].map((name) => `answer to ${name}`));
  assert.deepEqual(lines.map(({ sent, pieces }) => ({ sent, pieces })), [
    { sent: ["a", "c", "e"], pieces: [3] },
    { sent: ["b", "d", "f"], pieces: [3] },
  ]);
  await shared.close();
  assert.deepEqual(lines.map(({ released }) => released), [[undefined], [undefined]]);
});

Deno.test("SharedConnections asks on the connection with the least under way", async () => {
  const { lines, ask } = linesAnd();
  const hanging = Promise.withResolvers<string>();
  const first = ask("hangs");
  await nextTurn();
  const line = lines[0];
  assert.ok(line);
  assert.equal(await first, "answer to hangs");
  line.answer = () => hanging.promise;
  const slow = ask("slow");
  for (const name of ["x", "y", "z"]) assert.equal(await ask(name), `answer to ${name}`);
  assert.deepEqual(lines[1]?.sent, ["x", "y", "z"]);
  hanging.resolve("late");
  assert.equal(await slow, "late");
  await nextTurn();
});

Deno.test("SharedConnections gives a lost connection up once and goes on with a new one", async () => {
  const lost = new Error("Connection terminated");
  const { lines, ask } = linesAnd((error) => error === lost);
  await ask("a");
  const [line] = lines;
  assert.ok(line);
  line.answer = () => Promise.reject(lost);
  await assert.rejects(ask("b"), lost);
  assert.deepEqual(line.released, [lost]);
  assert.equal(await ask("c"), "answer to c");
  assert.equal(lines.length, 2);
  await nextTurn();
});

Deno.test("SharedConnections keeps a connection on which a statement was refused", async () => {
  const refused = new Error("Syntax error");
  const { lines, ask } = linesAnd((error) => error !== refused);
  await ask("a");
  const [line] = lines;
  assert.ok(line);
  line.answer = () => Promise.reject(refused);
  await assert.rejects(ask("b"), refused);
  assert.deepEqual(line.released, []);
  await nextTurn();
});

Deno.test("SharedConnections connects anew after a connection that could not be made, whatever the reason", async () => {
  const refused = Object.assign(new Error("password authentication failed"), { code: "28P01" });
  let isOpen = false;
  const line = new Line();
  const shared = new SharedConnections<string>(
    () => isOpen ? Promise.resolve(line) : Promise.reject(refused),
    () => false,
  );
  for (let n = 0; n < 3; n++) await assert.rejects(shared.query({ name: "a", text: "" }, []), refused);
  isOpen = true;
  assert.equal(await shared.query({ name: "a", text: "" }, []), "answer to a");
  await nextTurn();
});

Deno.test("SharedConnections gives up a connection that ends while nobody uses it", async () => {
  const { lines, ask } = linesAnd();
  await ask("a");
  const gone = new Error("terminated by the administrator");
  for (const listener of lines[0]?.listeners ?? []) listener(gone);
  assert.deepEqual(lines[0]?.released, [gone]);
  assert.equal(await ask("b"), "answer to b");
  assert.deepEqual(lines.map(({ sent }) => sent), [["a"], ["b"]]);
  await nextTurn();
});

Deno.test("SharedConnections makes no connection any more once it is closed", async () => {
  const { lines, ask, shared } = linesAnd();
  await ask("a");
  await shared.close();
  await assert.rejects(ask("b"), /closed/);
  assert.equal(lines.length, 1);
  await nextTurn();
});
