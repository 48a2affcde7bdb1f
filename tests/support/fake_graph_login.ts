// The side of Microsoft's token service, as strict as its documentation; it shares no code with the client.
import { Buffer } from "node:buffer";
import { constants, createHash, verify, X509Certificate } from "node:crypto";
import type { HttpReply, SeenRequest } from "./faulty_http.ts";

/** Who may ask for tokens, and how. */
export interface RegisteredApp {
  readonly tenant: string;
  readonly clientId: string;
  readonly secret?: string;
  /** In PEM. */
  readonly certificate?: string;
}

const audienceOf = (tenant: string) => `https://login.microsoftonline.com/${tenant}/oauth2/v2.0/token`;

/** Gives tokens to one application. */
export class FakeLogin {
  /** Tokens given so far. */
  given = 0;
  /** What every request for a token gets in place of one. */
  refusal: HttpReply | undefined;
  /** Each token is refused the first time it is shown. */
  revokeOnUse = false;
  /** Seconds a token is said to be good for. */
  lifeSeconds = 3599;
  readonly #app: RegisteredApp;
  readonly #good = new Set<string>();
  readonly #usedIds = new Set<string>();
  readonly #now: () => Date;

  constructor(app: RegisteredApp, now: () => Date) {
    this.#app = app;
    this.#now = now;
  }

  isGood(authorization: string | undefined): boolean {
    const token = /^Bearer (\S+)$/.exec(authorization ?? "")?.[1];
    if (this.revokeOnUse) this.#good.clear();
    return token !== undefined && this.#good.has(token);
  }

  /** No token given so far is good any more. */
  revokeAll(): void {
    this.#good.clear();
  }

  answer(request: SeenRequest, tenant: string): HttpReply {
    if (this.refusal !== undefined) return this.refusal;
    if (tenant !== this.#app.tenant) return denied(400, "invalid_request", "AADSTS90002: Tenant not found");
    if (request.headers.get("content-type") !== "application/x-www-form-urlencoded") {
      return denied(400, "invalid_request", "AADSTS900144: The request body must be a form");
    }
    const form = new URLSearchParams(Buffer.from(request.body).toString());
    if (form.get("grant_type") !== "client_credentials") {
      return denied(400, "unsupported_grant_type", "AADSTS70003: The grant type is not supported");
    }
    if (form.get("scope") !== "https://graph.microsoft.com/.default") {
      return denied(400, "invalid_scope", "AADSTS1002012: The scope is not valid");
    }
    if (form.get("client_id") !== this.#app.clientId) {
      return denied(400, "unauthorized_client", "AADSTS700016: Application was not found");
    }
    const wrong = form.has("client_assertion") ? this.#wrongAssertion(form) : this.#wrongSecret(form);
    if (wrong !== undefined) return denied(401, "invalid_client", wrong);
    const token = `token-${++this.given}-${crypto.randomUUID()}`;
    this.#good.add(token);
    const life = this.lifeSeconds;
    return {
      status: 200,
      body: { "token_type": "Bearer", "expires_in": life, "ext_expires_in": life, "access_token": token },
    };
  }

  #wrongSecret(form: URLSearchParams): string | undefined {
    const secret = form.get("client_secret");
    if (secret === null) return "AADSTS7000218: The request must contain a client_assertion or client_secret";
    return secret === this.#app.secret
      ? undefined
      : `AADSTS7000215: Invalid client secret provided: ${secret}`;
  }

  #wrongAssertion(form: URLSearchParams): string | undefined {
    if (form.get("client_assertion_type") !== "urn:ietf:params:oauth:client-assertion-type:jwt-bearer") {
      return "AADSTS700027: The type of the assertion is unknown";
    }
    const [head = "", claims = "", signature = "", ...more] = (form.get("client_assertion") ?? "").split(".");
    const certificate = new X509Certificate(this.#app.certificate ?? "");
    const thumbprint = createHash("sha256").update(certificate.raw).digest("base64url");
    const { alg, typ, "x5t#S256": shown } = JSON.parse(Buffer.from(head, "base64url").toString());
    if (more.length > 0 || alg !== "PS256" || typ !== "JWT" || shown !== thumbprint) {
      return "AADSTS700027: The certificate with that thumbprint is not known";
    }
    const isSigned = verify(
      "sha256",
      Buffer.from(`${head}.${claims}`),
      { key: certificate.publicKey, padding: constants.RSA_PKCS1_PSS_PADDING, saltLength: 32 },
      Buffer.from(signature, "base64url"),
    );
    if (!isSigned) return "AADSTS700027: The signature is not valid";
    return this.#wrongClaims(JSON.parse(Buffer.from(claims, "base64url").toString()));
  }

  #wrongClaims(claims: Readonly<Record<string, unknown>>): string | undefined {
    const { aud, iss, sub, jti, nbf, exp } = claims;
    const now = this.#now().getTime() / 1000;
    if (aud !== audienceOf(this.#app.tenant)) return "AADSTS50013: The audience is wrong";
    if (iss !== this.#app.clientId || sub !== iss) return "AADSTS50013: The issuer is wrong";
    if (typeof nbf !== "number" || typeof exp !== "number" || nbf > now || exp < now || exp > now + 600) {
      return "AADSTS700024: The assertion is not within its valid time range";
    }
    if (typeof jti !== "string" || this.#usedIds.has(jti)) {
      return "AADSTS50013: The assertion was used before";
    }
    this.#usedIds.add(jti);
    return undefined;
  }
}

function denied(status: number, error: string, description: string): HttpReply {
  return {
    status,
    body: { error, "error_description": `${description} Trace ID: 1`, "error_codes": [7], "trace_id": "1" },
  };
}
