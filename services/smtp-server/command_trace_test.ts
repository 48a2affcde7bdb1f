import assert from "node:assert/strict";
import { CommandTrace } from "./command_trace.ts";

const refusal = {
  reason: "credentials_wrong",
  reply: { code: 535, enhanced: "5.7.8" },
  text: "Authentication failed",
  identity: undefined,
  sender: undefined,
  correlationId: "c",
} as const;
const wire = { client: { address: "192.0.2.1", helo: "x" } };

function told(trace: CommandTrace) {
  const step = trace.refused(refusal, wire);
  return step && [step.command, step.tried, step.sender];
}

Deno.test("CommandTrace tells of a command nothing that an earlier one said", () => {
  const trace = new CommandTrace();
  trace.begin("AUTH");
  trace.authBy("PLAIN");
  trace.failedFor("shop");
  assert.deepEqual(told(trace), ["AUTH PLAIN", "shop", undefined]);
  trace.begin("AUTH");
  assert.deepEqual(told(trace), ["AUTH", undefined, undefined]);
  trace.begin("DATA");
  trace.dataOf("a@example.com");
  assert.deepEqual(told(trace), ["DATA", undefined, "a@example.com"]);
  trace.begin("DATA");
  assert.deepEqual(told(trace), ["DATA", undefined, undefined]);
});

Deno.test("CommandTrace tells who failed to log in when mail is refused afterwards, and of no other command", () => {
  const trace = new CommandTrace();
  trace.begin("AUTH");
  trace.failedFor("shop");
  trace.begin("MAIL");
  assert.deepEqual(told(trace), ["MAIL", "shop", undefined]);
  trace.begin("SP_ABCDEFGH");
  assert.equal(told(trace), undefined);
});
