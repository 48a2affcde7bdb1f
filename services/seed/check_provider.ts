import { findKind } from "../../lib/esp/catalog.ts";
import type { EspIo } from "../../lib/esp/esp.ts";
import type { Fault } from "../../lib/esp/outcome.ts";
import { type TestMail, testParcel } from "../../lib/esp/test_message.ts";
import type { ProviderRequest } from "./provider_request.ts";

/** What a check found, as lines for people. */
export interface ProviderCheck {
  readonly works: boolean;
  readonly lines: readonly string[];
}

/** Proves a provider's credentials without sending mail, and sends one message when a test mail is given. */
export async function checkProvider(
  { name, providerType, settings, secrets }: ProviderRequest,
  io: EspIo,
  mail?: TestMail,
): Promise<ProviderCheck> {
  const kind = findKind(providerType);
  if (kind === undefined) throw new Error(`Cannot check ${name}: there is no ESP "${providerType}"`);
  await using esp = kind.open(kind.settings.parse({ ...settings, ...secrets }), io);
  const { signal } = new AbortController();
  const { faults, domains } = await esp.check(signal);
  const lines = faults.map((fault) => `${name}: ${inWords(fault)}`);
  if (faults.length === 0) lines.push(`${name}: the credentials work`);
  if (domains !== undefined) lines.push(`${name}: verified sender domains: ${domains.join(", ") || "none"}`);
  if (mail === undefined || faults.length > 0) return { works: faults.length === 0, lines };
  const report = await esp.deliver(testParcel(mail), signal);
  const [outcome] = report.recipients.values();
  const works = outcome?.kind === "accepted";
  lines.push(
    works
      ? `${name}: took the test message, id ${report.providerMessageId ?? "unknown"}`
      : `${name}: ${outcome === undefined ? "no answer" : inWords(outcome.fault)}`,
  );
  return { works, lines };
}

function inWords({ code, detail }: Fault): string {
  return `${code}: ${detail}`;
}
