import { type ActivityFilter, listActivity } from "../../lib/activity/activity_listing.ts";
import { messageStatuses } from "../../lib/messages/message.ts";
import type { GroupId } from "../../lib/ids.ts";
import { listMessages, type MessageFilter } from "../../lib/messages/listing_table.ts";
import type { Database, Session } from "../../lib/postgres/database.ts";
import type { GroupSql } from "../../lib/postgres/sql.ts";
import { benchActor, benchProvider, benchResource } from "./api_rows.ts";
import { Latencies } from "./latency.ts";
import { medianOf, type Result } from "./result.ts";

/** One database that is filled, as its superuser and as the group role see it. */
export interface FilterTarget {
  readonly session: Session;
  readonly database: Database;
  readonly groups: Readonly<Record<string, GroupId>>;
}

/** One question to a list, and the same in SQL for whoever sees everything. */
interface Question {
  readonly where: string;
  ask(sql: GroupSql, group: GroupId, page: PageWanted): Promise<unknown>;
}
interface PageWanted {
  readonly after?: string;
  readonly limit: number;
}

const day = 86_400_000;
const spanned = { since: new Date(Date.now() - 60 * day), until: new Date(Date.now() - 30 * day) };
const withinSpan = `id >= first_uuid_at('${spanned.since.toISOString()}')
  and id < first_uuid_at('${spanned.until.toISOString()}')`;

/** Every filter that lists of messages and of dead letters have, and some of them together. */
const mail: Readonly<Record<string, Question>> = {
  none: mailQuestion({}, "true"),
  ...Object.fromEntries(
    messageStatuses.map((status) => [status, mailQuestion({ status }, `status = '${status}'`)]),
  ),
  dead: mailQuestion({ status: "dead" }, "status in ('failed', 'storage_error')"),
  failure: mailQuestion(
    { status: "dead", failure: "exhausted" },
    "status in ('failed', 'storage_error') and failure_code = 'exhausted'",
  ),
  sender: mailQuestion({ sender: "S7@example.com" }, "sender = 's7@example.com'"),
  recipient: mailQuestion(
    { recipient: "R7@example.net" },
    "exists (select from recipients r where r.message_id = messages.id and r.address_lower = 'r7@example.net')",
  ),
  provider: mailQuestion({ provider: benchProvider }, `provider_id = '${benchProvider}'`),
  span: mailQuestion(spanned, withinSpan),
  senderAndStatus: mailQuestion(
    { sender: "s7@example.com", status: "delivered" },
    "sender = 's7@example.com' and status = 'delivered'",
  ),
};

/** Every filter that lists of activities have, for what is common and for what is rare. */
const activities: Readonly<Record<string, Question>> = {
  none: activityQuestion({}, "true"),
  action: activityQuestion({ action: "provider.update" }, "action = 'provider.update'"),
  rareAction: activityQuestion({ action: "rule.delete" }, "action = 'rule.delete'"),
  type: activityQuestion({ resourceType: "provider" }, "resource_type = 'provider'"),
  rareType: activityQuestion({ resourceType: "rule" }, "resource_type = 'rule'"),
  actor: activityQuestion({ actor: benchActor }, `actor_id = '${benchActor}'`),
  resource: activityQuestion({ resourceId: benchResource }, `resource_id = '${benchResource}'`),
  span: activityQuestion(spanned, withinSpan),
  actorAndAction: activityQuestion(
    { actor: benchActor, action: "provider.update" },
    `actor_id = '${benchActor}' and action = 'provider.update'`,
  ),
};

function mailQuestion(filter: MessageFilter, where: string): Question {
  return { where, ask: (sql, group, page) => listMessages(sql, group, filter, page) };
}

function activityQuestion(filter: ActivityFilter, where: string): Question {
  return { where, ask: (sql, group, page) => listActivity(sql, group, filter, page) };
}

/**
 * Times every filter in two databases, in turn and as the group role: the first page and the last, each with as many
 * messages as the smaller database has for it, so that only the size of the tables differs.
 */
export async function* compareFilters(
  small: FilterTarget,
  large: FilterTarget,
  times: number,
): AsyncGenerator<Result> {
  const worst = { p50Ratio: 0, p99Ratio: 0 };
  for (const group of Object.keys(small.groups)) {
    for await (const { load, pages } of casesOf(group, small, large)) {
      const values = await timedAgain(pages, times);
      worst.p50Ratio = Math.max(worst.p50Ratio, values.p50Ratio);
      worst.p99Ratio = Math.max(worst.p99Ratio, values.p99Ratio);
      yield { case: "filters", target: group, load, values };
    }
  }
  yield { case: "filters", target: "all", load: "worst", values: worst };
}

/** One page of one database. */
interface Page {
  readonly database: Database;
  readonly group: GroupId;
  readonly ask: Question["ask"];
  readonly page: PageWanted;
}
interface FilterCase {
  readonly load: string;
  readonly pages: readonly [small: Page, large: Page];
}

async function* casesOf(group: string, small: FilterTarget, large: FilterTarget): AsyncGenerator<FilterCase> {
  const both = [small, large] as const;
  yield* pagesOf("messages", mail, group, both);
  yield* wordsOf(group, both);
  for await (const { load, pages } of pagesOf("activity_logs", activities, group, both)) {
    yield { load: `activity-${load}`, pages };
  }
}

async function* pagesOf(
  table: string,
  questions: Readonly<Record<string, Question>>,
  group: string,
  both: readonly [FilterTarget, FilterTarget],
): AsyncGenerator<FilterCase> {
  for (const [name, { where, ask }] of Object.entries(questions)) {
    const counts = await Promise.all(both.map((target) => countUpTo50(target, table, group, where)));
    const limit = Math.min(...counts);
    if (limit === 0) continue;
    const pageOf = (target: FilterTarget, after?: string): Page => ({
      database: target.database,
      group: groupOf(target, group),
      ask,
      page: { limit, ...(after !== undefined && { after }) },
    });
    yield { load: name, pages: [pageOf(both[0]), pageOf(both[1])] };
    const [early, late] = await Promise.all(
      both.map((target) => cursorOfLast(target, table, group, where, limit)),
    );
    yield { load: `${name}-last`, pages: [pageOf(both[0], early), pageOf(both[1], late)] };
  }
}

/** What is looked for by words that one message alone has. */
async function* wordsOf(
  group: string,
  both: readonly [FilterTarget, FilterTarget],
): AsyncGenerator<FilterCase> {
  const rows = await Promise.all(both.map(async (target) => {
    const [row] = await target.session.run(
      `select rfc_message_id, subject from messages where group_id = '${
        groupOf(target, group)
      }' order by id desc
        limit 1 offset 40`,
    );
    return { id: String(row?.["rfc_message_id"]), subject: String(row?.["subject"]) };
  }));
  const kinds: Readonly<Record<string, (row: { id: string; subject: string }) => MessageFilter>> = {
    messageId: ({ id }) => ({ rfcMessageId: id }),
    subject: ({ subject }) => ({ subject }),
    partOfSubject: ({ subject }) => ({ subject: subject.slice(3) }),
    nobody: () => ({ sender: "nobody@example.com" }),
  };
  for (const [load, filterOf] of Object.entries(kinds)) {
    const pageOf = (target: FilterTarget, row = { id: "", subject: "" }): Page => ({
      database: target.database,
      group: groupOf(target, group),
      ask: mailQuestion(filterOf(row), "").ask,
      page: { limit: 50 },
    });
    yield { load, pages: [pageOf(both[0], rows[0]), pageOf(both[1], rows[1])] };
  }
}

function groupOf(target: FilterTarget, name: string): GroupId {
  const group = target.groups[name];
  if (group === undefined) throw new Error(`Cannot find the group ${name}`);
  return group;
}

async function countUpTo50(
  target: FilterTarget,
  table: string,
  group: string,
  where: string,
): Promise<number> {
  const [row] = await target.session.run(`select count(*)::int as count from (select from ${table}
    where group_id = '${groupOf(target, group)}' and ${where} limit 50) m`);
  return Number(row?.["count"]);
}

async function cursorOfLast(
  target: FilterTarget,
  table: string,
  group: string,
  where: string,
  limit: number,
): Promise<string | undefined> {
  const [row] = await target.session.run(`select id from ${table}
    where group_id = '${groupOf(target, group)}' and ${where} order by id limit 1 offset ${limit}`);
  return row === undefined ? undefined : String(row["id"]);
}

/** What a list may take of what it takes with few rows. */
const bar = 1.5;
const mostTries = 3;

/** A list that seems slower is measured again: what is slow stays slow, what the machine did besides passes. */
async function timedAgain(pages: FilterCase["pages"], times: number) {
  for (let tries = 1;; tries++) {
    const values = await timed(pages, times);
    if (tries === mostTries || Math.max(values.p50Ratio, values.p99Ratio) <= bar) return { ...values, tries };
  }
}

const parts = 5;

/** Both pages in turn, so that what else the machine does meets both; medians of five parts of the measurement. */
async function timed(pages: FilterCase["pages"], times: number) {
  for (let n = 0; n < warmUp; n++) for (const page of pages) await timeOf(page);
  const summaries = [];
  for (let part = 0; part < parts; part++) summaries.push(await timedPart(pages, Math.ceil(times / parts)));
  const { lowestPerSecond: _, highestPerSecond: __, ...values } = medianOf(summaries);
  return {
    ...values,
    p50Ratio: rounded((values["largeP50"] ?? 0) / (values["smallP50"] ?? 0)),
    p99Ratio: rounded((values["largeP99"] ?? 0) / (values["smallP99"] ?? 0)),
  };
}

const warmUp = 10;

async function timedPart(pages: FilterCase["pages"], times: number): Promise<Record<string, number>> {
  const latencies = [new Latencies(), new Latencies()] as const;
  for (let n = 0; n < times; n++) {
    for (const [index, page] of pages.entries()) latencies[index]?.add(await timeOf(page));
  }
  const [small, large] = [latencies[0].summary(), latencies[1].summary()];
  return { smallP50: small.p50, largeP50: large.p50, smallP99: small.p99, largeP99: large.p99 };
}

async function timeOf({ database, group, ask, page }: Page): Promise<number> {
  const start = performance.now();
  await ask(database.reading(group), group, page);
  return performance.now() - start;
}

function rounded(value: number): number {
  return Math.round(value * 1000) / 1000;
}
