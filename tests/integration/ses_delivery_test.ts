import assert from "node:assert/strict";
import { fetchDirect } from "../../lib/aws/fetch_direct.ts";
import { createCredentials } from "../../lib/aws/open_credentials.ts";
import type { ProviderId } from "../../lib/ids.ts";
import { newKeyText, parseKeys } from "../../lib/secrets/seal.ts";
import { DeliveryRoom } from "../support/delivery_room.ts";
import { KeyMint, openSts } from "../support/fake_aws_identity.ts";
import { FakeSes } from "../support/fake_ses.ts";

const keyId = "AKIDEXAMPLE";
const secretKey = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";
const role = "arn:aws:iam::123456789012:role/mail";
const sealing = newKeyText("k");

/** The operator's credentials: a key in the environment, which SES knows. */
function operatorCredentials(variables: Readonly<Record<string, string>> = {}) {
  const all: Readonly<Record<string, string>> = {
    "AWS_ACCESS_KEY_ID": keyId,
    "AWS_SECRET_ACCESS_KEY": secretKey,
    ...variables,
  };
  return createCredentials({
    fetch,
    fetchDirect,
    now: () => new Date(),
    env: (name) => all[name],
    readTextFile: () => Promise.reject(new Error("There is no such file")),
  });
}

async function withOwnKeys(room: DeliveryRoom, fake: FakeSes, secret = secretKey): Promise<ProviderId> {
  const settings = { region: fake.region, endpoint: fake.http.origin, "access_key_id": keyId };
  return await room.provider("ses", settings, { secrets: { "secret_access_key": secret }, keys: sealing });
}

/** A minute has passed for a provider that needs attention. */
async function allowProbe(room: DeliveryRoom): Promise<void> {
  await room.owner.run("update provider_state set next_probe_at = clock_timestamp()");
}

async function stateOf(room: DeliveryRoom) {
  const [row] = await room.owner.run("select needs_attention_since, fault_code from provider_state");
  return { needsAttention: (row?.["needs_attention_since"] ?? null) !== null, code: row?.["fault_code"] };
}

Deno.test("a message to 120 recipients goes by SES in three calls, each written down with SES's id", async () => {
  await using fake = await FakeSes.open();
  await using room = await DeliveryRoom.open();
  await withOwnKeys(room, fake);
  await using crew = room.crew({ keys: await parseKeys(sealing) ?? [] });
  const to = Array.from({ length: 120 }, (_, index) => `r${index}@example.net`);
  const id = await room.submit(to);
  await room.deliver(id, crew);
  assert.equal(await room.statusOf(id), "delivered");
  assert.deepEqual(fake.mails.map((mail) => mail.to.length), [50, 50, 20]);
  assert.deepEqual(fake.mails.flatMap((mail) => mail.to), to);
  const logs = await room.logsOf(id);
  assert.deepEqual(logs.map((log) => log["provider_message_id"]), fake.mails.map((mail) => mail.id));
  assert.deepEqual(fake.mails.map(({ tags }) => tags["message-id"]), [id, id, id]);
  assert.deepEqual(fake.mails.map(({ tags }) => tags["call-id"]), logs.map((log) => log["id"]));
});

Deno.test("wrong keys spend no attempts and lose nothing: the mail goes out when they are put right", async () => {
  await using fake = await FakeSes.open();
  await using room = await DeliveryRoom.open();
  await withOwnKeys(room, fake);
  await using crew = room.crew({ keys: await parseKeys(sealing) ?? [] });
  const id = await room.submit(["a@example.net", "b@example.net"]);
  fake.keys.set(keyId, { secret: "rotated" });
  for (let minute = 0; minute < 120; minute += 10) {
    await room.deliver(id, crew);
    assert.equal(await room.statusOf(id), "queued");
    await room.makeDue(id);
    await allowProbe(room);
  }
  const states = (await room.recipientsOf(id)).map(({ status, attempts, code }) => [status, attempts, code]);
  assert.deepEqual(states, [["pending", 0, "http_403"], ["pending", 0, "http_403"]]);
  assert.deepEqual(await stateOf(room), { needsAttention: true, code: "http_403" });
  fake.keys.set(keyId, { secret: secretKey });
  await room.deliver(id, crew);
  assert.equal(await room.statusOf(id), "delivered");
  assert.equal(fake.mails.length, 1);
  assert.equal((await stateOf(room)).needsAttention, false);
  assert.doesNotMatch(JSON.stringify(room.log.lines), /wJalr/);
});

Deno.test("a group's provider acts with the operator's credentials only when an administrator allowed it", async () => {
  await using fake = await FakeSes.open();
  await using room = await DeliveryRoom.open();
  const provider = await room.provider("ses", {
    region: fake.region,
    endpoint: fake.http.origin,
    credentials: "environment",
  });
  await using crew = room.crew({ io: { credentials: operatorCredentials() } });
  const id = await room.submit(["a@example.net"]);
  await room.deliver(id, crew);
  assert.equal(await room.statusOf(id), "queued");
  assert.deepEqual(await stateOf(room), { needsAttention: true, code: "credentials_not_allowed" });
  assert.equal(fake.http.requests.length, 0);
  await room.owner.run(`update esp_providers set operator_credentials = true where id = '${provider}'`);
  await room.makeDue(id);
  await allowProbe(room);
  await room.deliver(id, crew);
  assert.equal(await room.statusOf(id), "delivered");
  assert.equal(fake.mails.length, 1);
});

Deno.test("a role that esp.allowed_roles lists may be taken on by any group, another role by none", async () => {
  await using fake = await FakeSes.open();
  const sts = await openSts(new KeyMint(fake.keys), {
    region: fake.region,
    roles: new Map([[role, keyId], [`${role}2`, keyId]]),
    callers: fake.keys,
    now: () => new Date(),
  });
  await using _sts = sts;
  await using room = await DeliveryRoom.open();
  const credentials = operatorCredentials({ "AWS_ENDPOINT_URL_STS": sts.origin });
  const settings = { region: fake.region, endpoint: fake.http.origin, credentials: "environment" };
  const provider = await room.provider("ses", { ...settings, "role_arn": `${role}2` });
  await using crew = room.crew({ io: { credentials }, allowedRoles: [role] });
  const id = await room.submit(["a@example.net"]);
  await room.deliver(id, crew);
  assert.equal((await stateOf(room)).code, "credentials_not_allowed");
  assert.equal(sts.requests.length, 0);
  const changed = JSON.stringify({ ...settings, "role_arn": role });
  await room.owner.query("update esp_providers set settings = $2::jsonb where id = $1", [provider, changed]);
  await room.makeDue(id);
  await allowProbe(room);
  await room.deliver(id, crew);
  assert.equal(await room.statusOf(id), "delivered");
  assert.match(fake.http.requests[0]?.headers.get("authorization") ?? "", /Credential=ASIA/);
});
