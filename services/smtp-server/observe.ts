import type { SubmissionRefusalCode } from "../../lib/refusal.ts";
import { submissionRefusals } from "../../lib/refusal.ts";
import type { Metrics } from "../../lib/telemetry/metrics.ts";
import type { Observer } from "./intake.ts";

/** Counts what the listener tells. */
export function observe({ smtp }: Metrics): Observer {
  smtp.activeSessions.set(0);
  return {
    connection: (status) => smtp.connections.add({ status }),
    session: () => {},
    login: (result) => smtp.authAttempts.add({ result }),
    refused: (reason) => {
      // Rows of the protocol's own replies are mistakes of clients, not refusals of ours.
      if (isRefusalCode(reason)) smtp.refusals.add({ code: reason });
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
