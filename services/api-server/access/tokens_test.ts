import assert from "node:assert/strict";
import { createHmac } from "node:crypto";
import { type GroupId, newId, type UserId } from "../../../lib/ids.ts";
import { openTokens, type TokenSettings } from "./tokens.ts";

const settings: TokenSettings = {
  signingKeys: ["k".repeat(32)],
  issuer: "us",
  audience: "our-api",
  accessExpiryMs: 900_000,
  refreshExpiryMs: 604_800_000,
};
const subject = {
  session: newId<never>() as string,
  user: newId<UserId>(),
  group: newId<GroupId>(),
  email: "a@example.com",
  role: "owner",
  groupType: "company",
};
const start = 1_800_000_000_000;

Deno.test("openTokens() verifies what it signed, of the same kind alone, until it expires", async () => {
  let now = start;
  const tokens = openTokens(settings, () => now);
  const token = await tokens.sign("access", subject);
  const { session, user, group } = subject;
  assert.deepEqual(await tokens.verify("access", token), {
    session,
    user,
    group,
    expiresAtMs: start + 900_000,
  });
  assert.equal(await tokens.verify("refresh", token), undefined);
  assert.equal(await tokens.verify("access", await tokens.sign("refresh", subject)), undefined);
  now = start + 899_000;
  assert.notEqual(await tokens.verify("access", token), undefined);
  now = start + 900_000;
  assert.equal(await tokens.verify("access", token), undefined);
});

Deno.test("openTokens() accepts the tokens of an older key and of no other", async () => {
  const old = openTokens(settings);
  const rotated = openTokens({ ...settings, signingKeys: ["n".repeat(32), "k".repeat(32)] });
  const token = await old.sign("access", subject);
  assert.notEqual(await rotated.verify("access", token), undefined);
  assert.equal(await old.verify("access", await rotated.sign("access", subject)), undefined);
});

Deno.test("openTokens() refuses another issuer, another audience, another algorithm and garbage", async () => {
  const tokens = openTokens(settings, () => start);
  for (const other of [{ issuer: "them" }, { audience: "their-api" }]) {
    const foreign = openTokens({ ...settings, ...other }, () => start);
    assert.equal(await tokens.verify("access", await foreign.sign("access", subject)), undefined);
  }
  const [header = "", payload = "", signature = ""] = (await tokens.sign("access", subject)).split(".");
  const encode = (value: unknown) => btoa(JSON.stringify(value)).replaceAll("=", "");
  const none = encode({ alg: "none", typ: "at+jwt" });
  const hs512 = encode({ alg: "HS512", typ: "at+jwt" });
  const signed = createHmac("sha512", "k".repeat(32)).update(`${hs512}.${payload}`).digest("base64url");
  const forgeries = [
    `${none}.${payload}.`,
    `${none}.${payload}.${signature}`,
    `${hs512}.${payload}.${signed}`,
    `${header}.${payload}`,
    `${header}.${payload}A.${signature}`,
    "a.b.c",
    "",
    "x".repeat(10_000),
  ];
  for (const forgery of forgeries) assert.equal(await tokens.verify("access", forgery), undefined, forgery);
});
