import { submissionRefusals } from "../refusal.ts";
import type { SubmissionRefusalCode } from "../refusal.ts";

/** A label: its values by name, or the number of different values above which the value is `other`. */
export type LabelValues = readonly string[] | number;

/** One metric as documented: its name, kind, meaning and the values of its labels. */
export interface Declaration<Kind extends MetricKind, Labels extends Record<string, LabelValues>> {
  readonly kind: Kind;
  readonly name: string;
  readonly help: string;
  readonly labels: Labels;
  /** Upper bounds of a histogram's buckets. */
  readonly buckets?: readonly number[];
}

/** What a metric can do; counters only grow. */
export type MetricKind = "counter" | "gauge" | "histogram";

function counter<const Labels extends Record<string, LabelValues> = Record<never, never>>(
  name: string,
  help: string,
  labels = {} as Labels,
): Declaration<"counter", Labels> {
  return { kind: "counter", name, help, labels };
}

function gauge<const Labels extends Record<string, LabelValues> = Record<never, never>>(
  name: string,
  help: string,
  labels = {} as Labels,
): Declaration<"gauge", Labels> {
  return { kind: "gauge", name, help, labels };
}

function histogram<const Labels extends Record<string, LabelValues> = Record<never, never>>(
  name: string,
  help: string,
  buckets: readonly number[],
  labels = {} as Labels,
): Declaration<"histogram", Labels> {
  return { kind: "histogram", name, help, labels, buckets };
}

const seconds = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60];
const sizes = [1, 2, 5, 10, 20, 50, 100, 200, 500];
const refusalCodes = Object.keys(submissionRefusals) as SubmissionRefusalCode[];

/** What became of a report: kept, refused for its signature, not readable, for no provider, or not stored now. */
export const reportResults = ["stored", "unsigned", "unreadable", "unknown", "failed"] as const;

/** Every metric, by the part of a process that registers it; names as documented, label values enumerated. */
export const declaredMetrics = {
  process: {
    buildInfo: gauge("build_info", "Always 1; tells service and version", { service: 10, version: 10 }),
    residentMemory: gauge("process_resident_memory_bytes", "Resident memory of the process"),
    heap: gauge("process_heap_bytes", "JavaScript heap in use"),
    startTime: gauge("process_start_time_seconds", "When the process began, seconds since 1970"),
    openFiles: gauge(
      "process_open_fds",
      "Open file descriptors; absent where the process may not read /proc",
    ),
    logLinesDropped: counter(
      "log_lines_dropped_total",
      "Log lines that the output could not take, by output",
      {
        output: ["stdout", "file", "cloudwatch"],
      },
    ),
    eventLoopLag: gauge("event_loop_lag_seconds", "Longest delay of a timer in the last ten seconds"),
    batchSize: histogram("batch_size", "Items that shared one durable step", sizes, {
      step: [
        "bodies",
        "messages",
        "doorbells",
        "policies",
        "claims",
        "renewals",
        "calls",
        "settlements",
        "conclusions",
        "refusals",
        "suppressions",
        "other",
      ],
    }),
  },
  smtp: {
    connections: counter("smtp_connections_total", "Connections by what became of them", {
      status: ["accepted", "rejected"],
    }),
    activeSessions: gauge("smtp_active_sessions", "Open SMTP sessions"),
    authAttempts: counter("smtp_auth_attempts_total", "AUTH commands by result", {
      result: ["success", "failure"],
    }),
    messagesEnqueued: counter("smtp_message_enqueued_total", "Messages answered with 250"),
    enqueueDuration: histogram(
      "smtp_message_enqueue_duration_seconds",
      "From the end of DATA to its reply, for messages answered with 250",
      seconds,
    ),
    refusals: counter("smtp_refusals_total", "Commands and messages refused, by reason", {
      code: refusalCodes,
    }),
    refusalRecords: counter(
      "smtp_refusal_records_total",
      "Refusals by what became of their record: a row, a part of another's, beyond a minute's share, or lost",
      { result: ["stored", "counted", "left_out", "lost"] },
    ),
    resubmissions: counter("smtp_resubmissions_total", "Messages answered with the id of an earlier one", {
      kind: ["accepted", "revived"],
    }),
    inlineBodies: counter("smtp_inline_bodies_total", "Bodies kept in PostgreSQL while the store was down"),
    certificateExpiry: gauge(
      "tls_certificate_expiry_timestamp_seconds",
      "When the certificate in use expires, seconds since 1970",
    ),
    certificateReloads: counter("tls_certificate_reloads_total", "Certificates read again, by result", {
      result: ["used", "refused"],
    }),
    bodyMemory: gauge("smtp_body_memory_bytes", "Memory reserved for bodies that are arriving"),
  },
  queue: {
    depth: gauge(
      "queue_depth",
      "Messages by state, dead letters as failed, each counted up to 100,000; told by the worker that sweeps",
      { status: ["queued", "processing", "failed"] },
    ),
    pending: gauge(
      "queue_messages_pending",
      "Unfinished messages of the groups with most, and of the others; told by the worker that sweeps",
      {
        group: 101,
      },
    ),
    enqueued: counter("queue_messages_enqueued_total", "Doorbells pushed"),
    oldestAge: gauge(
      "queue_oldest_age_seconds",
      "Age of the oldest message in a state; told by the worker that sweeps",
      {
        status: ["queued", "processing"],
      },
    ),
  },
  worker: {
    processed: counter("queue_messages_processed_total", "Messages that were worked on, by result", {
      status: ["sent", "failed", "dlq"],
    }),
    processingDuration: histogram(
      "queue_message_processing_duration_seconds",
      "From claim to conclusion of one delivery",
      seconds,
    ),
    deadLetters: counter("queue_dlq_messages_total", "Messages that became dead letters, by reason", {
      reason: ["refused", "exhausted", "expired", "unknown", "crashed", "storage_error"],
    }),
    attempts: counter("delivery_attempts_total", "Recipients in calls to an ESP, by outcome", {
      provider_type: 20,
      outcome: ["accepted", "retry", "wait", "refused", "unknown"],
    }),
    faults: counter("delivery_faults_total", "Recipients whose call did not end well, by the fault's code", {
      provider_type: 20,
      code: 100,
    }),
    callDuration: histogram("delivery_call_duration_seconds", "Duration of one call to an ESP", seconds, {
      provider_type: 20,
    }),
    retries: counter("delivery_retries_total", "Recipients put off after an attempt, by whose fault it was", {
      provider_type: 20,
      reason: ["message", "provider"],
    }),
    breakers: gauge("provider_breakers", "Providers whose breaker is not closed, by state", {
      state: ["open", "probing"],
    }),
    needsAttention: gauge("providers_needing_attention", "Providers that somebody has to repair"),
    bodiesRemoved: counter("bodies_removed_total", "Bodies removed from the store, by why", {
      reason: ["retention", "orphans"],
    }),
    weeksKept: gauge(
      "retention_partitions_kept",
      "Weeks of rows that stay longer than retention.rows, for a message that is unfinished or has its body",
    ),
    waits: counter("delivery_waits_total", "Deliveries put off without spending an attempt, by cause", {
      cause: [
        "throttled",
        "credentials",
        "configuration",
        "sender",
        "unavailable",
        "breaker_open",
        "paused",
        "suspended",
        "no_provider",
        "store_down",
      ],
    }),
    suppressed: counter(
      "delivery_suppressed_total",
      "Recipients not sent to because their group suppresses them",
    ),
    resent: counter("delivery_resent_total", "Recipients that may have been sent to before", {
      reason: ["crash", "unknown"],
    }),
    claimsLost: counter("delivery_claims_lost_total", "Writes that found their claim taken over"),
    sweeperRings: counter("sweeper_rings_total", "Doorbells rung by the sweeper, by reason", {
      reason: ["epoch", "lost", "expired"],
    }),
    bodyMemory: gauge("worker_body_memory_bytes", "Memory reserved for bodies that are being delivered"),
  },
  api: {
    requests: counter("api_requests_total", "Requests by method, route and status", {
      method: 10,
      path: 200,
      status: 40,
    }),
    requestDuration: histogram("api_request_duration_seconds", "Duration of requests", seconds, {
      method: 10,
      path: 200,
    }),
    authFailures: counter("api_auth_failures_total", "Requests whose credentials were refused"),
    webhookReports: counter(
      "api_webhook_reports_total",
      "Reports of email services, by what became of them",
      {
        kind: 20,
        result: reportResults,
      },
    ),
    webhookEvents: counter("api_webhook_events_total", "Events that reports of email services added", {
      kind: 20,
    }),
  },
  store: {
    freeBytes: gauge("store_free_bytes", "Free space where bodies lie; absent for stores that tell of none"),
  },
  database: {
    active: gauge("db_connections_active", "Connections to PostgreSQL in use"),
    idle: gauge("db_connections_idle", "Connections to PostgreSQL waiting for use"),
    queryDuration: histogram("db_query_duration_seconds", "Duration of statements", seconds, { query: 100 }),
    errors: counter("db_errors_total", "Statements that failed", { query: 100 }),
  },
} as const;

/** The documentation's table of metrics, as rows of Markdown. */
export function metricsTable(): string {
  const rows = Object.values(declaredMetrics).flatMap((part) =>
    Object.values(part).map(({ name, kind, help, labels }) => {
      const described = Object.entries<LabelValues>(labels).map(([label, values]) =>
        `\`${label}\`${typeof values === "number" ? "" : ` (${values.join(", ")})`}`
      );
      return `| \`${name}\` | ${kind} | ${described.join(", ") || "-"} | ${help} |`;
    })
  );
  return ["| Metric | Kind | Labels | Meaning |", "|---|---|---|---|", ...rows, ""].join("\n");
}
