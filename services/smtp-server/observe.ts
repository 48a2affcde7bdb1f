import type { SubmissionRefusalCode } from "../../lib/refusal.ts";
import { submissionRefusals } from "../../lib/refusal.ts";
import type { Metrics } from "../../lib/telemetry/metrics.ts";
import type { Observer, RefusedStep } from "./intake.ts";

/** Counts what the listener tells; `keep` is given what somebody may ask about. It must not throw. */
export function observe({ smtp }: Metrics, keep: (step: RefusedStep) => void = () => {}): Observer {
  smtp.activeSessions.set(0);
  return {
    connection: (status) => smtp.connections.add({ status }),
    session: () => {},
    login: (result) => smtp.authAttempts.add({ result }),
    refused: (reason, step) => {
      // Rows of the protocol's own replies are mistakes of clients, not refusals of ours; a customer's are worth telling.
      const isOurs = isRefusalCode(reason);
      if (isOurs) smtp.refusals.add({ code: reason });
      if (step !== undefined && (isOurs || step.identity !== undefined)) keep(step);
    },
    accepted: (_bytes, ms) => {
      smtp.messagesEnqueued.add();
      smtp.enqueueDuration.observe(ms / 1000);
    },
  };
}

function isRefusalCode(reason: string): reason is SubmissionRefusalCode {
  return Object.hasOwn(submissionRefusals, reason);
}
