import { z } from "zod";
import { ClientCertificate } from "./client_assertion.ts";
import type { EspIo } from "./esp.ts";
import type { HttpAnswer, HttpResult } from "./http.ts";
import { answerOf, excerptOf, outcomeOfFailure, outcomeOfStatus, retried, waiting } from "./http_outcome.ts";
import { outcomeOfUnsent } from "./msgraph_outcome.ts";
import { graphClouds } from "./msgraph_settings.ts";
import type { GraphSettings } from "./msgraph_settings.ts";
import type { EspAnswer, RecipientOutcome } from "./outcome.ts";
import { callService } from "./whole_parcel.ts";

/** A token to show to Graph, or why there is none; nothing was sent then. */
export type TokenResult =
  | { readonly token: string }
  | { readonly outcome: RecipientOutcome; readonly answer?: EspAnswer };

interface Held {
  readonly token: string;
  readonly renewAtMs: number;
  readonly endsAtMs: number;
}

const renewBeforeMs = 300_000;
/** Between attempts to renew a token that is still good. */
const quietMs = 10_000;
const secondsSchema = z.coerce.number().positive().max(10 * 86_400);
const grant = z.object({
  access_token: z.string().min(1).max(20_000),
  token_type: z.string().regex(/^bearer$/i),
  expires_in: secondsSchema,
});
const denial = z.object({
  error: z.string().max(200),
  error_description: z.string().optional(),
});

/** One application's token, asked for when it is needed, kept, and renewed five minutes before it ends. */
export class GraphToken implements AsyncDisposable {
  readonly #settings: GraphSettings;
  readonly #io: EspIo;
  readonly #end = new AbortController();
  #held: Held | undefined;
  #asking: Promise<TokenResult> | undefined;
  #certificate: Promise<ClientCertificate> | undefined;
  #quietUntilMs = 0;

  constructor(settings: GraphSettings, io: EspIo) {
    this.#settings = settings;
    this.#io = io;
  }

  /** Never throws; many may ask at the same time, one request serves them all. */
  async get(signal: AbortSignal): Promise<TokenResult> {
    const held = this.#held;
    const nowMs = this.#io.now().getTime();
    if (held !== undefined && nowMs < held.renewAtMs) return held;
    // What is still good serves while its successor is on the way.
    if (held !== undefined && nowMs < held.endsAtMs) {
      if (nowMs >= this.#quietUntilMs) this.#ask();
      return held;
    }
    return await untilAborted(this.#ask(), signal);
  }

  /** Forgets a token that Graph refused, unless another took its place meanwhile. */
  discard(token: string): void {
    if (this.#held?.token === token) this.#held = undefined;
  }

  /** What must never be shown: secrets, and the token itself. */
  secrets(): readonly string[] {
    const { client_secret: secret, private_key: key } = this.#settings;
    return [secret, key, this.#held?.token].filter((text) => text !== undefined);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#end.abort();
    await this.#asking;
  }

  #ask(): Promise<TokenResult> {
    return this.#asking ??= this.#request().then((result) => {
      if (!("token" in result)) this.#quietUntilMs = this.#io.now().getTime() + quietMs;
      return result;
    }).finally(() => this.#asking = undefined);
  }

  async #request(): Promise<TokenResult> {
    const { endpoint, tenant_id: tenant, cloud } = this.#settings;
    const path = `${encodeURIComponent(tenant)}/oauth2/v2.0/token`;
    const base = endpoint?.replace(/\/*$/, "/") ?? graphClouds[cloud].login;
    let body: string;
    try {
      body = `${await this.#form(new URL(path, graphClouds[cloud].login).href)}`;
    } catch (error) {
      const detail = excerptOf(error instanceof Error ? error.message : String(error), this.secrets());
      const fault = { blame: "provider", code: "certificate_invalid", detail } as const;
      return { outcome: { kind: "wait", cause: "credentials", fault } };
    }
    const headers = { "content-type": "application/x-www-form-urlencoded", accept: "application/json" };
    const request = { url: new URL(path, base), headers, body };
    return this.#read(await callService(this.#io, request, this.#end.signal, endpoint !== undefined));
  }

  async #form(audience: string): Promise<URLSearchParams> {
    const { client_id: clientId, client_secret: secret, certificate, private_key: key, cloud } =
      this.#settings;
    const form = new URLSearchParams({
      grant_type: "client_credentials",
      client_id: clientId,
      scope: `${graphClouds[cloud].graph}.default`,
    });
    if (secret !== undefined) form.set("client_secret", secret);
    else {
      this.#certificate ??= ClientCertificate.read(certificate ?? "", key ?? "");
      const assertion = (await this.#certificate).assertion({ clientId, audience, now: this.#io.now() });
      form.set("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer");
      form.set("client_assertion", await assertion);
    }
    return form;
  }

  #read(result: HttpResult): TokenResult {
    if (result.kind !== "answered") {
      return { outcome: outcomeOfUnsent(outcomeOfFailure(result, this.secrets())) };
    }
    const granted = result.status === 200 ? grant.safeParse(result.json) : undefined;
    if (granted?.success !== true) return this.#denied(result);
    const lifeMs = granted.data.expires_in * 1000;
    const nowMs = this.#io.now().getTime();
    this.#held = {
      token: granted.data.access_token,
      renewAtMs: nowMs + lifeMs - Math.min(renewBeforeMs, lifeMs / 2),
      endsAtMs: nowMs + lifeMs,
    };
    return this.#held;
  }

  #denied(answer: HttpAnswer): TokenResult {
    const found = denial.safeParse(answer.json);
    const { error = "", error_description: words } = found.success ? found.data : {};
    const number = /\bAADSTS\d+\b/.exec(words ?? "")?.[0];
    const code = number === undefined ? error : `${error} ${number}`;
    const hearing = {
      now: this.#io.now(),
      secrets: this.secrets(),
      ...(words === undefined ? {} : { words }),
    };
    return {
      outcome: outcomeOfDenial(answer, error, hearing),
      answer: answerOf(answer, this.secrets(), code === "" ? undefined : code),
    };
  }
}

/** The documented names of errors decide; Microsoft's numbers may change. */
function outcomeOfDenial(
  answer: HttpAnswer,
  error: string,
  hearing: Parameters<typeof outcomeOfStatus>[1],
): RecipientOutcome {
  if (answer.status < 500 && answer.status !== 429) {
    if (error === "invalid_client") return waiting("credentials", answer, hearing);
    if (error === "temporarily_unavailable" || answer.status < 300) return retried(answer, hearing);
    if (error !== "") return waiting("configuration", answer, hearing);
  }
  const outcome = outcomeOfStatus(answer, hearing);
  return outcome.kind === "refused" ? waiting("configuration", answer, hearing) : outcome;
}

/** Another's call may go on when this one is ended. */
async function untilAborted(asked: Promise<TokenResult>, signal: AbortSignal): Promise<TokenResult> {
  const { promise, resolve } = Promise.withResolvers<TokenResult>();
  const detail = "The call was ended before it began";
  const fault = { blame: "message", code: "aborted", detail } as const;
  const end = () => resolve({ outcome: { kind: "wait", cause: "unavailable", fault } });
  if (signal.aborted) end();
  signal.addEventListener("abort", end);
  try {
    return await Promise.race([asked, promise]);
  } finally {
    signal.removeEventListener("abort", end);
  }
}
