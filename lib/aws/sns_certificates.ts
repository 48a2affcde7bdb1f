import { type KeyObject, X509Certificate } from "node:crypto";

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

/** The certificates by which SNS signs, each fetched once a day; the URL must have been found to be SNS's own. */
export class SnsCertificates {
  readonly #options: SnsCertificatesOptions;
  readonly #kept = new Map<
    string,
    { readonly until: number; readonly found: Promise<X509Certificate | undefined> }
  >();

  constructor(options: SnsCertificatesOptions) {
    this.#options = options;
  }

  /** The key of a certificate that is in force; undefined when there is none or it cannot be had now. */
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
    if (known !== undefined && known.until > now) return await known.found;
    const found = this.#fetch(href);
    this.#keep(href, now + keptMs, found);
    const certificate = await found;
    if (certificate === undefined) this.#keep(href, now + failureKeptMs, found);
    return certificate;
  }

  #keep(href: string, until: number, found: Promise<X509Certificate | undefined>): void {
    this.#kept.delete(href);
    this.#kept.set(href, { until, found });
    const [oldest] = this.#kept.keys();
    if (this.#kept.size > mostKept && oldest !== undefined) this.#kept.delete(oldest);
  }

  async #fetch(href: string): Promise<X509Certificate | undefined> {
    try {
      const response = await this.#options.fetch(href, {
        redirect: "error",
        signal: AbortSignal.timeout(timeoutMs),
      });
      const text = response.ok ? await textOf(response) : undefined;
      if (!response.ok) await response.body?.cancel();
      return text === undefined ? undefined : new X509Certificate(text);
    } catch {
      return undefined; // not had now: whoever asks for it is told that nothing is proven
    }
  }
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
