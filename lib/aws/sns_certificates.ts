import { type KeyObject, X509Certificate } from "node:crypto";
import { Refusal } from "../refusal.ts";

/** What fetching certificates takes. */
export interface SnsCertificatesOptions {
  readonly fetch: typeof fetch;
  readonly now: () => Date;
}

const keptMs = 24 * 3_600_000;
const failureKeptMs = 60_000;
const timeoutMs = 5000;
const longest = 64 * 1024;
const mostKept = 50;
const mostFetches = 4;

/** The certificates by which SNS signs, each fetched once a day; the URL must have been found to be SNS's own. */
export class SnsCertificates {
  readonly #options: SnsCertificatesOptions;
  readonly #kept = new Map<string, { readonly until: number; readonly certificate: X509Certificate }>();
  // Apart, so that whoever names certificates that are none drives out no good one.
  readonly #failed = new Map<string, number>();
  readonly #fetching = new Map<string, Promise<X509Certificate | undefined>>();

  constructor(options: SnsCertificatesOptions) {
    this.#options = options;
  }

  /**
   * The key of a certificate that is in force; undefined when there is none. Throws
   * Refusal("certificate_unavailable") while it cannot be fetched: SNS comes again for that alone.
   */
  async key(url: URL): Promise<KeyObject | undefined> {
    const certificate = await this.#find(url.href);
    const now = this.#options.now().getTime();
    const isInForce = certificate !== undefined && Date.parse(certificate.validFrom) <= now &&
      now <= Date.parse(certificate.validTo);
    return isInForce && isOfSns(certificate) ? certificate.publicKey : undefined;
  }

  async #find(href: string): Promise<X509Certificate | undefined> {
    const now = this.#options.now().getTime();
    const known = this.#kept.get(href);
    if (known !== undefined && known.until > now) return known.certificate;
    if ((this.#failed.get(href) ?? 0) > now) return undefined;
    const running = this.#fetching.get(href);
    if (running !== undefined) return await running;
    if (this.#fetching.size >= mostFetches) throw unavailable();
    const fetching = this.#fetch(href).finally(() => this.#fetching.delete(href));
    this.#fetching.set(href, fetching);
    const certificate = await fetching;
    if (certificate === undefined) keep(this.#failed, href, now + failureKeptMs);
    else keep(this.#kept, href, { until: now + keptMs, certificate });
    return certificate;
  }

  async #fetch(href: string): Promise<X509Certificate | undefined> {
    let response: Response;
    let text: string | undefined;
    try {
      response = await this.#options.fetch(href, {
        redirect: "error",
        signal: AbortSignal.timeout(timeoutMs),
      });
      text = response.ok ? await textOf(response) : undefined;
      if (!response.ok) await response.body?.cancel();
    } catch (cause) {
      throw unavailable(cause);
    }
    if (response.status >= 500 || response.status === 429) throw unavailable();
    return text === undefined ? undefined : certificateOf(text);
  }
}

function unavailable(cause?: unknown): Refusal {
  return new Refusal("certificate_unavailable", "the certificate of SNS cannot be fetched now", { cause });
}

function certificateOf(text: string): X509Certificate | undefined {
  try {
    return new X509Certificate(text);
  } catch {
    return undefined; // whatever was answered, it is no certificate
  }
}

function keep<Value>(kept: Map<string, Value>, href: string, value: Value): void {
  kept.delete(href);
  kept.set(href, value);
  const [oldest] = kept.keys();
  if (kept.size > mostKept && oldest !== undefined) kept.delete(oldest);
}

/** At most so many bytes, for nobody knows what answers. */
async function textOf(response: Response): Promise<string | undefined> {
  let text = "";
  const decoder = new TextDecoder();
  for await (const piece of response.body ?? []) {
    text += decoder.decode(piece, { stream: true });
    if (text.length > longest) return undefined;
  }
  return text;
}

function isOfSns({ subject }: X509Certificate): boolean {
  return /(^|[\n,]\s*)CN=sns(\.[a-z0-9-]+)?\.amazonaws\.com(\.cn)?(\n|,|$)/.test(subject);
}
