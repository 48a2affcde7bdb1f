import assert from "node:assert/strict";
import { type AddressInfo, createServer, type Socket } from "node:net";
import { runToJson, startChild } from "./child.ts";
import type { LoadReport } from "./load_tally.ts";

/** What a scripted server does when the closing dot of a message has come. */
type Ending = "250 2.0.0 Ok" | "451 4.3.0 Later" | "550 5.7.1 No" | "hang up";

/** A server for one session at a time that ends its messages as scripted, then with 250; keeps what it read. */
async function openScriptedServer(script: Ending[]) {
  const messages: string[] = [];
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.on("close", () => sockets.delete(socket));
    let text = "";
    let mark = "\r\n";
    const answer = (part: string): void => {
      if (mark === "\r\n") {
        if (part === "DATA") mark = "\r\n.\r\n";
        socket.write(part === "DATA" ? "354 Go on\r\n" : "250 Ok\r\n");
        return;
      }
      mark = "\r\n";
      messages.push(part);
      const ending = script.shift() ?? "250 2.0.0 Ok";
      if (ending === "hang up") socket.destroy();
      else socket.write(ending + "\r\n");
    };
    socket.on("data", (chunk) => {
      text += chunk.toString("latin1");
      for (let end = text.indexOf(mark); end >= 0; end = text.indexOf(mark)) {
        const part = text.slice(0, end);
        text = text.slice(end + mark.length);
        answer(part);
      }
    });
    socket.write("220 Ready\r\n");
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    port: (server.address() as AddressInfo).port,
    messages,
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

async function load(port: number, args: readonly string[]) {
  const folder = await Deno.makeTempDir();
  const idsFile = `${folder}/ids`;
  const common = [
    `--port=${port}`,
    "--tls=none",
    "--user=",
    "--sessions=1",
    "--run=testload",
    `--ids-file=${idsFile}`,
  ];
  const report = await runToJson<LoadReport>("./load.ts", [...common, ...args]);
  const list = async (suffix: string) =>
    (await Deno.readTextFile(idsFile + suffix)).split("\n").filter((id) => id !== "");
  const ids = {
    acked: await list(""),
    doubtful: await list(".doubtful"),
    refused: await list(".refused"),
    resent: await list(".resent"),
  };
  await Deno.remove(folder, { recursive: true });
  return { report, ids };
}

Deno.test("load lists every id by how it ended when nothing is sent again", async () => {
  await using server = await openScriptedServer([
    "250 2.0.0 Ok",
    "451 4.3.0 Later",
    "hang up",
    "550 5.7.1 No",
  ]);
  const { report, ids } = await load(server.port, ["--total=5"]);
  assert.deepEqual(ids, {
    acked: ["testload-000000000", "testload-000000004"],
    doubtful: ["testload-000000002"],
    refused: ["testload-000000001", "testload-000000003"],
    resent: [],
  });
  assert.deepEqual([report.acked, report.refused, report.doubtful, report.resent], [2, 2, 1, 0]);
  assert.deepEqual(report.errors, { "451 4.3.0": 1, "550 5.7.1": 1, "closed by the server": 1 });
});

Deno.test("load --retry sends the same bytes again until they are acknowledged", async () => {
  await using server = await openScriptedServer(["451 4.3.0 Later", "hang up"]);
  const { report, ids } = await load(server.port, ["--total=2", "--retry"]);
  assert.deepEqual(ids, {
    acked: ["testload-000000000", "testload-000000001"],
    doubtful: [],
    refused: [],
    resent: ["testload-000000000"],
  });
  assert.equal(report.resent, 1);
  const [first, second, third, other] = server.messages;
  assert.equal(server.messages.length, 4);
  assert.ok(first === second && second === third && third !== other);
});

Deno.test("load --retry stops at a permanent refusal and at its limit of time", async () => {
  await using server = await openScriptedServer(["550 5.7.1 No", ...Array<Ending>(500).fill("hang up")]);
  const { report, ids } = await load(server.port, ["--total=2", "--retry", "--give-up=1"]);
  assert.deepEqual([ids.refused, ids.doubtful], [["testload-000000000"], ["testload-000000001"]]);
  assert.equal(report.acked, 0);
});

Deno.test("load shares its messages among processes, and the sink counts every id once", async () => {
  await using sink = await startChild("./sink.ts", []);
  const { report, ids } = await load(sink.port, [
    "--total=60",
    "--sessions=6",
    "--processes=2",
    "--pipelining",
  ]);
  const counts = JSON.parse(await sink.ask(""));
  assert.deepEqual([report.acked, new Set(ids.acked).size, counts.uniqueIds, counts.duplicates], [
    60,
    60,
    60,
    0,
  ]);
});

Deno.test("load keeps idle connections open beside its sessions", async () => {
  await using sink = await startChild("./sink.ts", []);
  const { report } = await load(sink.port, ["--total=10", "--idle=5", "--size=200000"]);
  assert.equal(report.acked, 10);
});
