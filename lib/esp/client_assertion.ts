import { createPrivateKey, randomUUID, X509Certificate } from "node:crypto";

/** Who asks whom for a token. */
export interface AssertionClaims {
  readonly clientId: string;
  /** URL of the token endpoint that the assertion is meant for. */
  readonly audience: string;
  readonly now: Date;
}

const validForSeconds = 300;
const leewaySeconds = 60;

/** A certificate by which a client proves who it is, in place of a secret (RFC 7523 section 2.2). */
export class ClientCertificate {
  readonly #thumbprint: string;
  readonly #pkcs8: Uint8Array<ArrayBuffer>;
  #key: Promise<CryptoKey> | undefined;

  private constructor(thumbprint: string, pkcs8: Uint8Array<ArrayBuffer>) {
    this.#thumbprint = thumbprint;
    this.#pkcs8 = pkcs8;
  }

  /** Reads both from PEM; throws when one cannot be read, the key is not RSA, or they do not belong together. */
  static async read(certificate: string, privateKey: string): Promise<ClientCertificate> {
    const shown = new X509Certificate(certificate);
    const key = createPrivateKey(privateKey);
    if (key.asymmetricKeyType !== "rsa") {
      throw new Error(`Cannot use private key: current type is ${key.asymmetricKeyType}, RSA is wanted`);
    }
    if (!shown.checkPrivateKey(key)) {
      throw new Error("Cannot use certificate: the private key is not the one of its public key");
    }
    const thumbprint = await crypto.subtle.digest("SHA-256", new Uint8Array(shown.raw));
    return new ClientCertificate(
      base64Url(new Uint8Array(thumbprint)),
      new Uint8Array(key.export({ type: "pkcs8", format: "der" })),
    );
  }

  /** A signed statement (JWT, PS256) that is good for one request within five minutes. */
  async assertion({ clientId, audience, now }: AssertionClaims): Promise<string> {
    const seconds = Math.floor(now.getTime() / 1000);
    const header = { alg: "PS256", typ: "JWT", "x5t#S256": this.#thumbprint };
    const claims = {
      aud: audience,
      iss: clientId,
      sub: clientId,
      jti: randomUUID(),
      iat: seconds,
      nbf: seconds - leewaySeconds,
      exp: seconds + validForSeconds,
    };
    const text = `${encoded(header)}.${encoded(claims)}`;
    const signature = await crypto.subtle.sign(
      { name: "RSA-PSS", saltLength: 32 },
      await this.#imported(),
      new TextEncoder().encode(text),
    );
    return `${text}.${base64Url(new Uint8Array(signature))}`;
  }

  #imported(): Promise<CryptoKey> {
    const algorithm = { name: "RSA-PSS", hash: "SHA-256" };
    return this.#key ??= crypto.subtle.importKey("pkcs8", this.#pkcs8, algorithm, false, ["sign"]);
  }
}

function encoded(claims: Readonly<Record<string, unknown>>): string {
  return base64Url(new TextEncoder().encode(JSON.stringify(claims)));
}

function base64Url(bytes: Uint8Array): string {
  return bytes.toBase64({ alphabet: "base64url", omitPadding: true });
}
