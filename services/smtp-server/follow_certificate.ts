import { createPrivateKey, X509Certificate } from "node:crypto";
import type { Log } from "../../lib/telemetry/log_fields.ts";
import type { Metrics } from "../../lib/telemetry/metrics.ts";
import { loadCertificate } from "./certificate.ts";
import type { Certificate } from "./listener_options.ts";

/** Which files are followed, and who uses what is in them. */
export interface FollowOptions {
  readonly mode: "starttls" | "none";
  /** Empty where the certificate is the process's own; then, or without TLS, nothing is followed. */
  readonly certFile: string;
  readonly keyFile: string;
  readonly use: (certificate: Certificate) => void;
  readonly log: Log;
  readonly metrics: Metrics;
  readonly now?: () => number;
  readonly everyMs?: number;
}

/** A certificate that is kept up to date until it is disposed. */
export interface FollowedCertificate extends Disposable {
  /** Reads the files now; never rejects. */
  reload(): Promise<void>;
}

const dayMs = 86_400_000;
const warnBeforeMs = 14 * dayMs;

/**
 * Reads the files of a certificate every half minute and hands on what changed, so that new sessions have it and old
 * ones go on. Files that do not fit together, such as when one of two was written yet, leave the certificate as it is.
 * From two weeks before its end it is warned of each day.
 */
export async function followCertificate(options: FollowOptions): Promise<FollowedCertificate> {
  if (options.certFile === "" || options.mode === "none") {
    return { reload: () => Promise.resolve(), [Symbol.dispose]: () => {} };
  }
  const follower = new Follower(options);
  await follower.begin();
  const timer = setInterval(() => void follower.look(), options.everyMs ?? 30_000);
  return { reload: () => follower.look(), [Symbol.dispose]: () => clearInterval(timer) };
}

class Follower {
  readonly #options: FollowOptions;
  readonly #now: () => number;
  #cert = "";
  #key = "";
  #expiresAt = 0;
  #warnedAt = -Infinity;
  #refused = "";
  #looking: Promise<void> | undefined;

  constructor(options: FollowOptions) {
    this.#options = options;
    this.#now = options.now ?? Date.now;
  }

  async begin(): Promise<void> {
    const { certFile, keyFile } = this.#options;
    this.#keep(await loadCertificate(certFile, keyFile));
    this.#warn();
  }

  /** One at a time, and one more for whoever asks meanwhile. */
  async look(): Promise<void> {
    await this.#looking;
    this.#looking = this.#lookOnce();
    await this.#looking;
  }

  async #lookOnce(): Promise<void> {
    const { certFile, keyFile, use, log, metrics: { smtp } } = this.#options;
    try {
      const found = await loadCertificate(certFile, keyFile);
      if (found.cert !== this.#cert || found.key !== this.#key) {
        requirePair(found);
        use(found);
        this.#keep(found);
        this.#warnedAt = -Infinity;
        smtp.certificateReloads.add({ result: "used" });
        log.info("TLS certificate changed", { file: certFile, detail: this.#validity() });
      }
      this.#refused = "";
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      if (reason !== this.#refused) {
        smtp.certificateReloads.add({ result: "refused" });
        log.warn("TLS certificate not changed", { file: certFile, error });
      }
      this.#refused = reason;
    }
    this.#warn();
  }

  #keep({ cert, key }: Certificate): void {
    this.#cert = cert;
    this.#key = key;
    this.#expiresAt = Date.parse(new X509Certificate(cert).validTo);
    this.#options.metrics.smtp.certificateExpiry.set(this.#expiresAt / 1000);
  }

  #warn(): void {
    const now = this.#now();
    if (this.#expiresAt - now > warnBeforeMs || now - this.#warnedAt < dayMs) return;
    this.#warnedAt = now;
    const sentence = this.#expiresAt <= now ? "TLS certificate has expired" : "TLS certificate expires soon";
    this.#options.log.warn(sentence, { file: this.#options.certFile, detail: this.#validity() });
  }

  #validity(): string {
    return `valid until ${new Date(this.#expiresAt).toISOString()}`;
  }
}

function requirePair({ cert, key }: Certificate): void {
  if (new X509Certificate(cert).checkPrivateKey(createPrivateKey(key))) return;
  throw new Error("Cannot use the certificate: the key is another certificate's");
}
