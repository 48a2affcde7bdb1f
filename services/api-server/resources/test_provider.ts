import { z } from "@hono/zod-openapi";
import { findGroup } from "../../../lib/groups/group_entries_table.ts";
import { countTestMessages } from "../../../lib/activity/activity_table.ts";
import { lockGroups } from "../../../lib/groups/member_entries_table.ts";
import type { GroupSql } from "../../../lib/postgres/sql.ts";
import { findKind } from "../../../lib/esp/catalog.ts";
import type { Esp } from "../../../lib/esp/esp.ts";
import type { Fault } from "../../../lib/esp/outcome.ts";
import { testParcel } from "../../../lib/esp/test_message.ts";
import { parseMailbox } from "../../../lib/mime/address.ts";
import { credentialsObstacle } from "../../../lib/providers/operator_credentials.ts";
import type { ProviderEntry } from "../../../lib/providers/provider_entries_table.ts";
import { openSecrets } from "../../../lib/providers/provider_secrets.ts";
import { Refusal } from "../../../lib/refusal.ts";
import { domainOutside } from "../../../lib/users/sender_domains.ts";
import { isOperator } from "../access/principal.ts";
import { type Operation, operation } from "../operation.ts";
import { type Asking, inGroup, type Parts } from "../parts.ts";
import { idOf } from "../schemas.ts";
import { getProvider } from "./providers.ts";

const faultShape = z.object({ code: z.string(), detail: z.string() });
const address = z.string().max(320).refine((text) => parseMailbox(text)?.isInternational === false, {
  message: "it is not an address in ASCII",
});

/** Tests at a time in one process. */
const mostTests = 8;
/** Test messages of a group within an hour. */
const mostMessages = 20;
const hourMs = 3_600_000;

interface Result {
  readonly works: boolean;
  readonly faults: readonly Fault[];
  readonly domains?: readonly string[];
  readonly message?: { readonly accepted: boolean; readonly id?: string; readonly fault?: Fault };
}

/** Proves a provider's credentials, outside of any transaction and in limited time. */
export function providerTestOperations(parts: Parts): readonly Operation[] {
  return [testOperation(parts)];
}

function testOperation(parts: Parts): Operation {
  let running = 0;
  return operation({
    action: "providers:write",
    method: "post",
    path: "/api/v1/providers/{id}/test",
    tag: "providers",
    summary: "Prove a provider's credentials, and send a test message where one is asked for",
    params: z.object({ id: idOf("provider") }),
    body: z.strictObject({ "test_message": z.strictObject({ from: address, to: address }).optional() }),
    answer: {
      status: 200,
      schema: z.object({
        works: z.boolean(),
        faults: z.array(faultShape),
        "verified_domains": z.array(z.string()).nullable().meta({
          description: "Sender domains that the service has verified; null where it does not tell",
        }),
        "test_message": z.object({
          accepted: z.boolean(),
          "provider_message_id": z.string().nullable(),
          fault: faultShape.nullable(),
        }).nullable(),
      }).openapi("ProviderTest"),
    },
    handle: async ({ params, body, ...asking }) => {
      if (running >= mostTests) {
        throw new Refusal("too_many_tests", "too many providers are being tested", { retryAfter: 10 });
      }
      running++;
      try {
        const entry = await inGroup(parts, asking, async (sql, note) => {
          const found = await getProvider(sql, asking, params.id);
          if (body.test_message !== undefined) {
            await requireSender(parts, asking, sql, body.test_message.from);
            await requireFewTests(asking, sql);
          }
          const changes = { name: found.name, ...(body.test_message && { to: body.test_message.to }) };
          await note({ action: "provider.test", resourceType: "provider", resourceId: found.id, changes });
          return found;
        });
        return answerOf(await inTime(parts, (signal) => test(parts, entry, body.test_message, signal)));
      } finally {
        running--;
      }
    },
  });
}

type Sql = Parameters<typeof findGroup>[0];

/** A shared account would send from any domain: the group's own are the limit, as for its accounts (ruling 3.14). */
async function requireSender(parts: Parts, { principal }: Asking, sql: Sql, from: string): Promise<void> {
  if (!parts.requireGroupDomains || isOperator(principal)) return;
  const group = await findGroup(sql, principal.group);
  const domain = parseMailbox(from)?.domain.toLowerCase() ?? "";
  if (domainOutside([domain], group?.allowedDomains ?? []) === undefined) return;
  throw new Refusal("domain_not_allowed", `the group may not send from ${domain}`, {
    field: "test_message.from",
  });
}

/** They count for no limit of mail, so nobody sends his mail by way of them. */
async function requireFewTests({ principal }: Asking, sql: GroupSql): Promise<void> {
  await lockGroups(sql, [principal.group]);
  const sent = await countTestMessages(sql, principal.group, new Date(Date.now() - hourMs));
  if (sent < mostMessages) return;
  const sentence = `the group has sent ${mostMessages} test messages within an hour, try again later`;
  throw new Refusal("too_many_tests", sentence, { retryAfter: 600 });
}

async function test(
  { providers }: Parts,
  entry: ProviderEntry,
  mail: { readonly from: string; readonly to: string } | undefined,
  signal: AbortSignal,
): Promise<Result> {
  const secrets = await openSecrets(entry, await providers.keys() ?? []);
  if (secrets === undefined) {
    return broken("secrets_unreadable", "No key at hand opens the provider's secrets");
  }
  const kind = findKind(entry.providerType);
  const settings = kind?.settings.safeParse({ ...entry.settings, ...secrets });
  if (kind === undefined || settings?.success !== true) {
    const places = settings?.error?.issues.map(({ path }) => path.join(".")).join(", ");
    return broken("settings_invalid", `The settings are not valid: ${places ?? entry.providerType}`);
  }
  const obstacle = credentialsObstacle(entry, providers.allowedRoles);
  if (obstacle !== undefined) return broken("credentials_not_allowed", obstacle);
  let esp: Esp;
  try {
    esp = kind.open(settings.data, providers.io);
  } catch (error) {
    return broken("cannot_open", error instanceof Error ? error.message : String(error));
  }
  await using opened = esp;
  const { faults, domains } = await opened.check(signal);
  const found = { works: faults.length === 0, faults, ...(domains === undefined ? {} : { domains }) };
  if (mail === undefined || faults.length > 0) return found;
  const report = await opened.deliver(testParcel({ ...mail, now: providers.io.now() }), signal);
  const [outcome] = report.recipients.values();
  const accepted = outcome?.kind === "accepted";
  return {
    ...found,
    works: accepted,
    message: {
      accepted,
      ...(report.providerMessageId === undefined ? {} : { id: report.providerMessageId }),
      ...(outcome !== undefined && outcome.kind !== "accepted" ? { fault: outcome.fault } : {}),
    },
  };
}

function broken(code: string, detail: string): Result {
  return { works: false, faults: [{ blame: "provider", code, detail: detail.slice(0, 500) }] };
}

/** What has no answer in time is told as a fault; the call is ended. */
async function inTime(
  { providers }: Parts,
  work: (signal: AbortSignal) => Promise<Result>,
): Promise<Result> {
  const stop = new AbortController();
  const late = Promise.withResolvers<Result>();
  const timer = setTimeout(() => {
    stop.abort(new DOMException("The test took too long", "TimeoutError"));
    late.resolve(broken("timeout", `No answer within ${providers.testTimeoutMs} ms`));
  }, providers.testTimeoutMs);
  try {
    return await Promise.race([work(stop.signal), late.promise]);
  } finally {
    clearTimeout(timer);
  }
}

function answerOf({ works, faults, domains, message }: Result) {
  return {
    works,
    faults: faults.map(toldOf),
    "verified_domains": domains === undefined ? null : [...domains],
    "test_message": message === undefined ? null : {
      accepted: message.accepted,
      "provider_message_id": message.id ?? null,
      fault: message.fault === undefined ? null : toldOf(message.fault),
    },
  };
}

function toldOf({ code, detail }: Fault) {
  return { code, detail };
}
