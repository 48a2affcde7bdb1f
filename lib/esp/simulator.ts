import { z } from "zod";
import type { RecipientId } from "../ids.ts";
import type { Recipient } from "../messages/message.ts";
import { sleepFor } from "../retry.ts";
import { accountSecrets, accountSettings, httpEndpoint } from "./account_settings.ts";
import type { AccountCheck, Esp, EspIo, EspKind, Parcel } from "./esp.ts";
import type { CallReport, EspAnswer, Fault, RecipientOutcome } from "./outcome.ts";

const settings = z.strictObject({
  ...accountSettings,
  endpoint: httpEndpoint.describe("Has no effect: nothing is called"),
  recipients: z.int().min(1).max(1000).default(1000).describe("Recipients of one call"),
  bytes: z.int().min(1).max(150 * 1024 * 1024).default(150 * 1024 * 1024)
    .describe("Size of the largest message in bytes"),
});

/** The settings of `simulator`. */
export type SimulatorSettings = z.output<typeof settings>;

/**
 * Sends nothing and answers by the local part of each recipient (`simulatedOutcomes`), so that anybody can see what
 * becomes of mail that bounces, waits or fails. Every other address is accepted.
 */
export const simulator: EspKind<SimulatorSettings> = {
  name: "simulator",
  settings,
  secretKeys: accountSecrets,
  targetKeys: [],
  open: (given, io) => new Simulator(given, io),
};

type Simulated = (label: number | undefined, recipient: Recipient) => RecipientOutcome;

/**
 * What each local part stands for. A number after a plus sign is, for `defer` and `down`, how many attempts fail before
 * one is accepted, and for `throttle` the wait in seconds that is asked for.
 */
export const simulatedOutcomes: Readonly<
  Record<string, { readonly help: string; readonly answer: Simulated }>
> = {
  bounce: {
    help: "refused for good; the recipient's fault",
    answer: () => ({ kind: "refused", fault: fault("message", "simulated_bounce", "550 No such mailbox") }),
  },
  defer: {
    help: "not now, by the recipient's fault; spends an attempt; `defer+2@` is accepted at the third",
    answer: until(fault("message", "simulated_defer", "450 Mailbox is busy")),
  },
  down: {
    help: "a fault of the provider: spends an attempt, opens the breaker, falls back; `down+2@` likewise",
    answer: until(fault("provider", "simulated_down", "500 Internal error")),
  },
  timeout: {
    help: "no connection within `delivery.call_timeout`; spends an attempt",
    answer: until(fault("provider", "simulated_timeout", "No connection in time")),
  },
  throttle: {
    help: "too much at a time; spends no attempt; `throttle+60@` names a wait of 60 seconds",
    answer: (seconds) => ({
      kind: "wait",
      cause: "throttled",
      fault: fault("provider", "simulated_throttle", "429 Too many requests"),
      ...(seconds !== undefined && { afterMs: 1000 * seconds }),
    }),
  },
  credentials: {
    help: "wrong credentials: the provider needs attention, its mail waits",
    answer: () => waiting("credentials", fault("provider", "simulated_credentials", "401 Unauthorized")),
  },
  configuration: {
    help: "an account that is suspended: the provider needs attention, its mail waits",
    answer: () => waiting("configuration", fault("provider", "simulated_configuration", "403 Forbidden")),
  },
  unknown: {
    help: "the request left and no answer came: sent again or held, as the setting `unknown` says",
    answer: () => ({ kind: "unknown", fault: fault("provider", "simulated_unknown", "The answer was lost") }),
  },
};

class Simulator implements Esp {
  readonly limits: Esp["limits"];
  readonly smtpUtf8 = true;
  readonly #io: EspIo;

  constructor({ recipients, bytes }: SimulatorSettings, io: EspIo) {
    this.limits = { recipients, bytes };
    this.#io = io;
  }

  async deliver(parcel: Parcel, signal: AbortSignal): Promise<CallReport> {
    const unread = await readThrough(parcel, signal);
    if (unread !== undefined) {
      return { recipients: new Map(parcel.recipients.map(({ id }) => [id, unread])) };
    }
    const named = parcel.recipients.map(simulatedBy);
    if (named.some(({ name }) => name === "timeout")) await sleepFor(this.#io.callTimeoutMs, signal);
    const recipients = new Map<RecipientId, RecipientOutcome>();
    for (const { recipient, name, label } of named) {
      const simulated = simulatedOutcomes[name];
      recipients.set(recipient.id, simulated?.answer(label, recipient) ?? { kind: "accepted" });
    }
    const answer = answerOf([...recipients.values()]);
    return answer.code === 250
      ? { recipients, answer, providerMessageId: `simulated-${parcel.call}` }
      : { recipients, answer };
  }

  check(): Promise<AccountCheck> {
    return Promise.resolve({ faults: [] });
  }

  [Symbol.asyncDispose](): Promise<void> {
    return Promise.resolve();
  }
}

/** Any real service would see all of the body, so one that cannot be read is not accepted. */
async function readThrough({ body }: Parcel, signal: AbortSignal): Promise<RecipientOutcome | undefined> {
  try {
    signal.throwIfAborted();
    for await (const _chunk of body.stream()) signal.throwIfAborted();
    return undefined;
  } catch (error) {
    const code = signal.aborted ? "aborted" : "body_unreadable";
    return waiting("unavailable", fault("message", code, String(error)));
  }
}

function simulatedBy(recipient: Recipient) {
  const found = /^([a-z]+)(?:\+(\d{1,6}))?(?:\+[^@]*)?@/i.exec(recipient.address);
  const name = found?.[1]?.toLowerCase() ?? "";
  return {
    recipient,
    name: Object.hasOwn(simulatedOutcomes, name) ? name : "",
    label: found?.[2] === undefined ? undefined : Number(found[2]),
  };
}

/** Fails for as many attempts as the label says, without one for ever. */
function until(cause: Fault): Simulated {
  return (times, { attempts }) =>
    times !== undefined && attempts >= times ? { kind: "accepted" } : { kind: "retry", fault: cause };
}

function waiting(
  cause: "credentials" | "configuration" | "unavailable",
  of: Fault,
): RecipientOutcome {
  return { kind: "wait", cause, fault: of };
}

function answerOf(outcomes: readonly RecipientOutcome[]): EspAnswer {
  const worst = outcomes.find((outcome) => outcome.kind !== "accepted");
  if (worst === undefined || outcomes.some(({ kind }) => kind === "accepted")) {
    return { code: 250, excerpt: "Simulated: nothing was sent" };
  }
  const code = Number(/^\d{3}/.exec(worst.fault.detail)?.[0]);
  return { ...(code > 0 && { code }), espCode: worst.fault.code, excerpt: worst.fault.detail };
}

function fault(blame: Fault["blame"], code: string, detail: string): Fault {
  return { blame, code, detail };
}
