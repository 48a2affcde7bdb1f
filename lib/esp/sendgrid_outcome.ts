import { z } from "zod";
import type { HttpAnswer, HttpResult } from "./http.ts";
import {
  outcomeOfFailure,
  outcomeOfStatus,
  refused,
  retried,
  waiting,
  withoutAddresses,
} from "./http_outcome.ts";
import type { Hearing } from "./http_outcome.ts";
import type { RecipientOutcome } from "./outcome.ts";

/** One thing that SendGrid says is wrong. */
export interface SendgridError {
  readonly message: string;
  /** The place in the request, e.g. `personalizations.0.to.0.email`. */
  readonly field?: string;
}

const errorBody = z.object({
  errors: z.array(z.object({ message: z.string(), field: z.string().nullish() })).max(10_000),
});
const creditsMs = 15 * 60 * 1000;

/** What SendGrid says is wrong; empty when it says nothing that can be read. */
export function errorsOf({ json }: HttpAnswer): readonly SendgridError[] {
  const found = errorBody.safeParse(json);
  if (!found.success) return [];
  return found.data.errors.map(({ message, field }) => ({ message, ...(field ? { field } : {}) }));
}

/** SendGrid's id of the mail: nothing else means that it was taken. */
export function sendgridId(result: HttpResult): string | undefined {
  if (result.kind !== "answered" || result.status !== 202) return undefined;
  const id = result.headers.get("x-message-id")?.trim() ?? "";
  return /^[\w.~-]{1,200}$/.test(id) ? id : undefined;
}

/** What becomes of the recipients of one call; success is 202 with an id, and only that. */
export function outcomeOfSendgrid(result: HttpResult, hearing: Hearing): RecipientOutcome {
  if (result.kind !== "answered") return outcomeOfFailure(result, hearing.secrets);
  if (sendgridId(result) !== undefined) return { kind: "accepted" };
  const errors = errorsOf(result);
  const said = errors.map(({ message }) => message).join("; ");
  const words = withoutAddresses(said);
  const heard = said === "" ? hearing : { ...hearing, words: said };
  const { status } = result;
  if (status === 413) return refused(result, heard, "message_too_large");
  if (status < 400 || status >= 500) return outcomeOfStatus(result, heard);
  // The account's credits are used up until they are renewed, whatever status says so.
  if (
    /credits? (are |were |is |was |been )?exceeded|exceeded your (messaging|sending|email) limit/i.test(words)
  ) {
    return waiting("throttled", result, heard, creditsMs);
  }
  if (/verified sender identity|sender identity|domain authentication/i.test(words)) {
    return waiting("sender", result, heard);
  }
  if (status === 400 && /authorization|api key/i.test(words)) return waiting("credentials", result, heard);
  const outcome = outcomeOfStatus(result, heard);
  // Without SendGrid's words it was not SendGrid who answered, but something on the way.
  return outcome.kind === "refused" && errors.length === 0 ? retried(result, heard) : outcome;
}
