import { type CallId, firstIdAt, type MessageId, newId } from "../../lib/ids.ts";
import { claimMessages, renewClaims } from "../../lib/messages/claims_table.ts";
import { startCalls } from "../../lib/messages/delivery_logs_table.ts";
import { findStored, insertMessages, markEnqueueFailed } from "../../lib/messages/messages_table.ts";
import {
  countDead,
  countUnfinished,
  listUnfinished,
  takeBackRings,
  takeExpiredClaims,
  takeLostDoorbells,
} from "../../lib/messages/orphans_table.ts";
import { plainOf, settleAll } from "../../lib/messages/outcomes_table.ts";
import { settlePlain } from "../../lib/messages/plain_outcomes_table.ts";
import {
  findDueBodies,
  findKept,
  findNeeded,
  giveUpBodies,
  hasMessages,
  listWeeks,
  shortestKeeping,
} from "../../lib/messages/retention_table.ts";
import type { Database } from "../../lib/postgres/database.ts";
import { listProviders } from "../../lib/providers/providers_table.ts";
import { openPostgresQueue } from "../../lib/queue/postgres_queue.ts";
import { isKnownAddress, listFailures, recordAttempts } from "../../lib/users/auth_attempts_table.ts";
import { findSmtpAccounts, readSmtpPolicies } from "../../lib/users/smtp_accounts_table.ts";
import { submissionHash } from "../../services/smtp-server/resubmissions.ts";
import { submissionOf, type TestAccount } from "../support/submissions.ts";
import { keepLists, listForGroup, listForOperator, refuseMail, storeReports } from "./plan_list_exercises.ts";

/** One service's statements, made as its role on 20 messages that are due. */
export interface Exercise {
  readonly role: string;
  run(database: Database, account: TestAccount, due: readonly string[]): Promise<void>;
}

/** Every statement about messages, queues and accounts that the services make while mail flows, and of lists beside. */
export const exercises: readonly Exercise[] = [
  { role: "smtp_proxy_intake", run: takeMailIn },
  { role: "smtp_proxy_worker", run: deliverMail },
  { role: "smtp_proxy_worker", run: removeWhatIsOld },
  { role: "smtp_proxy_intake", run: refuseMail },
  { role: "smtp_proxy_worker", run: keepLists },
  { role: "smtp_proxy_login", run: storeReports },
  { role: "smtp_proxy_group", run: listForGroup },
  { role: "smtp_proxy_admin", run: listForOperator },
];

async function takeMailIn(database: Database, account: TestAccount): Promise<void> {
  await findSmtpAccounts(database.system, ["somebody"]);
  await readSmtpPolicies(database.system, [account.user]);
  await isKnownAddress(database.system, "somebody", "192.0.2.1");
  await listFailures(database.system, 900_000, 10_000);
  await recordAttempts(
    database.system,
    [{ account: "somebody", address: "192.0.2.1", succeeded: false }],
    900_000,
  );
  const items = Array.from({ length: 20 }, (_, n) => {
    const submission = submissionOf(account, { headers: { messageId: `<${n}@example.com>` } });
    const hash = submissionHash(submission);
    return { submission, storageRef: "local:x.seg#1+1" as const, ...(hash && { submissionHash: hash }) };
  });
  const verdicts = await insertMessages(database, items, 3_600_000);
  // The same again is looked up one by one.
  const again = items.map((item) => ({
    ...item,
    submission: { ...item.submission, id: newId<MessageId>() },
  }));
  await insertMessages(database, again, 3_600_000);
  const ids = items.map((item) => item.submission.id);
  await findStored(database.system, ids);
  await markEnqueueFailed(
    database.system,
    ids.map((message, n) => {
      const verdict = verdicts[n];
      return { message, ...(verdict?.kind === "stored" && verdict.attempt && { attempt: verdict.attempt }) };
    }),
  );
  await using queue = openPostgresQueue({ database });
  await queue.push(ids.map((message) => ({ message, group: account.group })));
}

async function deliverMail(database: Database, account: TestAccount, due: readonly string[]): Promise<void> {
  await using queue = openPostgresQueue({ database });
  const leases = await queue.reserve(10, 100);
  await queue.push(leases, 60_000);
  await queue.heads();
  await queue.depth();
  const claimant = { holder: "plans/1", held: [], leaseMs: 120_000 };
  const answers = await claimMessages(database.system, due as readonly MessageId[], claimant);
  const claims = [...answers.values()].flatMap((answer) => answer.kind === "claimed" ? [answer.claim] : []);
  await renewClaims(
    database.system,
    claims.map(({ message, number }) => ({ message: message.id, number })),
    120_000,
  );
  const calls = claims.map(({ message, number }) => ({
    call: newId<CallId>(),
    message: message.id,
    group: message.group,
    user: message.user,
    claim: number,
    providerType: "smtp",
    recipients: message.recipients.map((recipient) => recipient.id),
    attempt: 1,
    limitMs: 30_000,
  }));
  await startCalls(database.system, calls);
  const settlements = calls.map(({ call, message, claim, recipients }) => ({
    message,
    claim,
    calls: [{ call, status: "delivered" as const }],
    changes: recipients.map((recipient) => ({
      recipient,
      status: "accepted" as const,
      attemptSpent: true,
    })),
    then: "conclude" as const,
  }));
  const [one, ...others] = settlements;
  await settlePlain(database.system, others.flatMap((settlement) => plainOf(settlement) ?? []));
  if (one !== undefined) await settleAll(database.system, [one]);
  await takeLostDoorbells(
    database.system,
    [{ group: account.group, rungAt: new Date() }],
    60_000,
    300_000,
    500,
  );
  const expired = await takeExpiredClaims(database.system, 300_000, 500);
  await takeBackRings(database.system, [...expired.map(({ id }) => id), ...due as readonly MessageId[]]);
  const page = await listUnfinished(database.system, undefined, 500);
  await listUnfinished(database.system, page.next, 500);
  await countDead(database.system);
  await countUnfinished(database.system);
  await listProviders(database.system, account.group);
}

async function removeWhatIsOld({ system: sql }: Database): Promise<void> {
  const terms = { deliveredMs: 1, failedMs: 30 * 86_400_000, unansweredMs: 7_200_000 };
  await shortestKeeping(sql, terms);
  const [first, last] = [firstIdAt(Date.now() - 15 * 86_400_000), firstIdAt(Date.now())];
  const { due } = await findDueBodies(sql, first, last, terms, 2000);
  await giveUpBodies(sql, due.slice(0, 500), terms);
  await hasMessages(sql);
  await findNeeded(sql, due.slice(0, 500).map((id) => ({ id, ref: `local:${id}` })));
  await listWeeks(sql, last);
  await findKept(sql, first, last, 2000);
}
