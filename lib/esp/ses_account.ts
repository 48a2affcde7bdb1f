import { z } from "zod";
import type { CredentialsFailure } from "../aws/credentials.ts";
import { normalDomain } from "../mime/address.ts";
import type { AccountCheck } from "./esp.ts";
import type { HttpResult } from "./http.ts";
import type { RecipientOutcome } from "./outcome.ts";
import { sesErrorType } from "./ses_outcome.ts";

/** Makes one signed request to SES and says what its answer means. */
export type AskSes = (
  method: "GET" | "POST",
  path: string,
  body?: string,
) => Promise<{ readonly result: HttpResult | CredentialsFailure; readonly outcome: RecipientOutcome }>;

const pageSize = 1000;
const mostPages = 10;

/** Whether an account may send, and which domains it has verified where its credentials may ask that. */
export async function checkAccount(ask: AskSes): Promise<AccountCheck> {
  const { result, outcome } = await ask("GET", "/v2/email/account");
  if (isDenied(result)) return await checkSending(ask);
  const found = account.safeParse(jsonOf(result));
  if (!found.success) return { faults: faultsOf(outcome) };
  if (found.data.SendingEnabled === false) {
    const detail = "SES has paused sending for this account";
    return { faults: [{ blame: "provider", code: "sending_disabled", detail }] };
  }
  const domains = await verifiedDomains(ask);
  return { faults: [], ...(domains === undefined ? {} : { domains }) };
}

/** Credentials may be allowed to do nothing but send: an empty message proves it, and is sent to nobody. */
async function checkSending(ask: AskSes): Promise<AccountCheck> {
  const { result, outcome } = await ask("POST", "/v2/email/outbound-emails", '{"Content":{}}');
  const isUnderstood = "kind" in result && result.kind === "answered" && result.status === 400 &&
    sesErrorType(result) === "BadRequestException";
  return { faults: isUnderstood ? [] : faultsOf(outcome) };
}

async function verifiedDomains(ask: AskSes): Promise<readonly string[] | undefined> {
  const domains: string[] = [];
  let token: string | undefined;
  for (let page = 0; page < mostPages; page++) {
    const query = new URLSearchParams({ PageSize: String(pageSize), ...(token && { NextToken: token }) });
    const { result } = await ask("GET", `/v2/email/identities?${query}`);
    const found = identities.safeParse(jsonOf(result));
    if (!found.success) return undefined;
    for (const { IdentityType: type, IdentityName: name, ...state } of found.data.EmailIdentities) {
      const isVerified = state.SendingEnabled === true &&
        (state.VerificationStatus ?? "SUCCESS") === "SUCCESS";
      const domain = type === "DOMAIN" && isVerified ? normalDomain(name) : undefined;
      if (domain !== undefined) domains.push(domain);
    }
    token = found.data.NextToken ?? undefined;
    if (token === undefined) return domains;
  }
  return undefined;
}

const account = z.object({ SendingEnabled: z.boolean().optional(), SendQuota: z.object({}).optional() });
const identities = z.object({
  EmailIdentities: z.array(z.object({
    IdentityType: z.string().max(100),
    IdentityName: z.string().max(1000),
    SendingEnabled: z.boolean().optional(),
    VerificationStatus: z.string().max(100).optional(),
  })).max(pageSize),
  NextToken: z.string().min(1).max(10_000).nullish(),
});

function isDenied(result: HttpResult | CredentialsFailure): boolean {
  return "kind" in result && result.kind === "answered" && result.status === 403 &&
    /^AccessDenied/.test(sesErrorType(result) ?? "");
}

function jsonOf(result: HttpResult | CredentialsFailure): unknown {
  return "kind" in result && result.kind === "answered" && result.status === 200 ? result.json : undefined;
}

function faultsOf(outcome: RecipientOutcome): AccountCheck["faults"] {
  return outcome.kind === "accepted" ? [] : [outcome.fault];
}
