import type { Target } from "./target.ts";

/** The whole product as processes of its own with the permissions of its tasks, on a database that syncs. */
export interface System extends AsyncDisposable {
  /** smtp-server and the servers behind it. */
  readonly intake: Target;
  readonly smtpServerPid: number;
  /** Starts a queue-worker that delivers everything to a port of this host, in the manner of an ESP; one at a time. */
  startWorker(sinkPort: number, esp?: BenchedEsp): Promise<Worker>;
  /** Opens a transaction that sees the database as it is now, and keeps it open until disposed. */
  openSnapshot(): Promise<AsyncDisposable>;
}

/** The ESPs that have a sink; an SMTP relay where none is named. */
export type BenchedEsp = "smtp" | "sendgrid" | "ses";

/** A running queue-worker. */
export interface Worker extends AsyncDisposable {
  readonly pid: number;
}
