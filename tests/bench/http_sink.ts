// The receiving end of the bench for services with an HTTP API: takes every message as SendGrid and Amazon SES do and
// counts ids. What it prints and understands: see `SinkTally.report`.
import { Buffer } from "node:buffer";
import { SinkTally } from "./sink_tally.ts";

const tally = new SinkTally();
const idField = /X-Test-Id"?: ?"?([\w-]+)/i;

async function take(request: Request): Promise<Response> {
  const text = await request.text();
  const { pathname } = new URL(request.url);
  if (request.method === "POST" && pathname.endsWith("/mail/send")) {
    tally.take(idField.exec(text)?.[1], text.split('"email"').length - 2);
    return new Response(null, { status: 202, headers: { "x-message-id": crypto.randomUUID().slice(0, 22) } });
  }
  if (request.method === "POST" && pathname.endsWith("/outbound-emails")) {
    const { Content, Destination } = JSON.parse(text);
    const header = Buffer.from(Content.Raw.Data.slice(0, 16_384), "base64").toString("latin1");
    tally.take(idField.exec(header)?.[1], Object.values(Destination).flat().length);
    return Response.json({ MessageId: `0100-${crypto.randomUUID()}-000000` });
  }
  return new Response(null, { status: 404 });
}

const server = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen: () => {} }, take);
await tally.report(server.addr.port);
