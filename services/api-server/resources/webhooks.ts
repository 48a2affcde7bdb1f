import { z } from "@hono/zod-openapi";
import { espKinds } from "../../../lib/esp/catalog.ts";
import type { EspKind } from "../../../lib/esp/esp.ts";
import type { EspWebhook, WebhookReport, WebhookRequest } from "../../../lib/esp/webhook.ts";
import {
  findReportedCalls,
  findWebhookProvider,
  findWebhookProviders,
  storeEvents,
  takeWebhookReceipt,
  type WebhookProvider,
} from "../../../lib/events/webhooks_table.ts";
import { openSecrets } from "../../../lib/providers/provider_secrets.ts";
import { Refusal, type RefusalCode } from "../../../lib/refusal.ts";
import { type Operation, publicOperation } from "../operation.ts";
import type { OnReport, Parts } from "../parts.ts";
import { idOf } from "../schemas.ts";
import { tellReported, type Told } from "../tell_reported.ts";

const answer = { status: 200, schema: z.object({ status: z.literal("ok") }) } as const;
const confirmTimeoutMs = 5000;

interface ReportingKind extends EspKind<unknown> {
  readonly webhook: EspWebhook;
}

/** What email services report of messages: proven by their signatures, or refused. */
export function webhookOperations(parts: Parts): readonly Operation[] {
  const reporting = espKinds.filter((kind): kind is ReportingKind => kind.webhook !== undefined);
  return reporting.flatMap((kind) => [ofMessages(parts, kind), ofProvider(parts, kind)]);
}

/** The documented path: whose report it is follows from the messages in it (ruling 1.20). */
function ofMessages(parts: Parts, kind: ReportingKind): Operation {
  return publicOperation({
    method: "post",
    path: `/api/v1/webhooks/${kind.name}`,
    tag: "webhooks",
    summary: `Report of ${kind.name} about messages of any of its providers`,
    description:
      "Proven by the key of each provider that sent the messages in it; nobody else's key is tried.",
    bodyTypes: ["*/*"],
    answer,
    handle: ({ raw, bytes }) =>
      counted(parts, kind, async () => {
        const request = { headers: raw.headers, bytes };
        const report = read(kind, request);
        const sql = parts.databases.login.system;
        const providers = await findWebhookProviders(sql, kind.name, report.events, report.topic);
        return await receive(parts, kind, { request, report, providers });
      }),
  });
}

function ofProvider(parts: Parts, kind: ReportingKind): Operation {
  return publicOperation({
    method: "post",
    path: `/api/v1/webhooks/${kind.name}/{token}`,
    tag: "webhooks",
    summary: `Report of ${kind.name} about messages of the provider whose webhook_path this is`,
    params: z.object({ token: idOf("webhook") }),
    bodyTypes: ["*/*"],
    answer,
    handle: ({ raw, bytes, params }) =>
      counted(parts, kind, async () => {
        const request = { headers: raw.headers, bytes };
        const report = read(kind, request);
        const provider = await findWebhookProvider(parts.databases.login.system, kind.name, params.token);
        if (provider === undefined) throw new Refusal("not_found", "not found");
        return await receive(parts, kind, { request, report, providers: [provider] });
      }),
  });
}

/** Receives a report, and tells what became of it. */
async function counted({ onReport }: Parts, { name }: ReportingKind, work: () => Promise<number>) {
  try {
    onReport(name, "stored", await work());
  } catch (error) {
    onReport(name, error instanceof Refusal ? results[error.code] ?? "failed" : "failed", 0);
    throw error;
  }
  return { status: "ok" as const };
}

const results: Partial<Record<RefusalCode, Parameters<OnReport>[1]>> = {
  "signature_invalid": "unsigned",
  "request_invalid": "unreadable",
  "not_found": "unknown",
};

function read(kind: ReportingKind, request: WebhookRequest): WebhookReport {
  const report = kind.webhook.read(request);
  if (report === undefined) throw new Refusal("request_invalid", "invalid request body");
  return report;
}

interface Received {
  readonly request: WebhookRequest;
  readonly report: WebhookReport;
  readonly providers: readonly WebhookProvider[];
}

/**
 * Stores the events for each provider whose key proves them, tells of them, and answers how many are new; refuses what no
 * key proves.
 */
async function receive(
  parts: Parts,
  kind: ReportingKind,
  { request, report, providers }: Received,
): Promise<number> {
  const receivedAtMs = Date.now();
  const proven: WebhookProvider[] = [];
  for (const provider of providers) {
    if (await isProven(parts, kind, provider, request)) proven.push(provider);
  }
  const contentHash = new Uint8Array(await crypto.subtle.digest("SHA-256", request.bytes));
  const { believed, stored } = await parts.databases.login.transaction(async (sql) => {
    const believed: Told[] = [];
    let stored = 0;
    for (const provider of proven) {
      const { onceToken, events } = report;
      const isFresh = onceToken === undefined ||
        await takeWebhookReceipt(sql, provider.id, onceToken, contentHash);
      if (!isFresh) continue;
      stored += await storeEvents(sql, provider.id, events);
      const calls = await findReportedCalls(sql, provider.id, events);
      believed.push({ kind: kind.name, provider: provider.id, events, calls, receivedAtMs });
    }
    return { believed, stored };
  });
  if (believed.length === 0) throw new Refusal("signature_invalid", "the signature is missing or not valid");
  for (const told of believed) tellReported(told, parts.log);
  if (report.confirmUrl !== undefined) await confirm(parts, report.confirmUrl);
  return stored;
}

async function isProven(
  { providers }: Parts,
  kind: ReportingKind,
  provider: WebhookProvider,
  request: WebhookRequest,
): Promise<boolean> {
  const secrets = await openSecrets(provider, await providers.keys() ?? []);
  if (secrets === undefined) return false;
  const settings = kind.settings.safeParse({ ...provider.settings, ...secrets });
  return settings.success && await kind.webhook.verify(request, settings.data, providers.webhookIo);
}

/** Tells SNS that its reports are wanted; the URL was found to be SNS's own. Throws when it cannot be told now. */
async function confirm({ providers }: Parts, url: URL): Promise<void> {
  let response: Response;
  try {
    response = await providers.io.fetch(url, {
      redirect: "error",
      signal: AbortSignal.timeout(confirmTimeoutMs),
    });
    await response.body?.cancel();
  } catch (cause) {
    throw new Refusal("subscription_unconfirmed", "the subscription could not be confirmed", { cause });
  }
  if (response.ok) return;
  throw new Refusal("subscription_unconfirmed", `the subscription was not confirmed: ${response.status}`);
}
