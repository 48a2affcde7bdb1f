import type { Config } from "../../lib/config/settings.ts";
import { longestTerms } from "../../lib/messages/body_terms.ts";
import type { EspIo } from "../../lib/esp/esp.ts";
import type { Log } from "../../lib/telemetry/log_fields.ts";
import { failAfterMs, type PasswordVerifier } from "../../lib/users/password_verifier.ts";
import { type Authenticate, authenticator } from "./access/authenticate.ts";
import { ConflictThrottle } from "./access/conflict_throttle.ts";
import { LoginDesk, type LoginParts } from "./access/login.ts";
import { openTokens } from "./access/tokens.ts";
import type { MailParts } from "./mail_parts.ts";
import type { Databases, OnReport, Parts } from "./parts.ts";
import { type ProviderConfig, providerParts } from "./provider_parts.ts";

/** The settings that the handlers go by. */
export type PartsConfig =
  & Pick<Config, "auth" | "rateLimit" | "requireGroupDomains" | "retention">
  & ProviderConfig;

/** What is open already. */
export interface OpenedParts {
  readonly databases: Databases;
  readonly passwords: PasswordVerifier;
  readonly mail: MailParts;
  readonly log: Log;
  /** The world as ESPs see it, where it is not the one that the settings say. */
  readonly io?: EspIo | undefined;
  /** How a login that fails waits for its answer; `failAfterMs` after it began when not given. */
  readonly failure?: Pick<LoginParts, "failAfterMs" | "pause"> | undefined;
  /** Told of what went wrong beside a request that went on. */
  readonly onFault: (error: unknown) => void;
  readonly onReport?: OnReport;
}

/** Puts the handlers' parts together. */
export function openParts(
  config: PartsConfig,
  { databases, passwords, mail, log, io, failure = { failAfterMs }, onFault, onReport = () => {} }:
    OpenedParts,
): { readonly parts: Parts; readonly authenticate: Authenticate } {
  const { auth, rateLimit, requireGroupDomains } = config;
  const previous = auth.previousSigningKeys.reveal().split(",").map((key) => key.trim()).filter((key) =>
    key !== ""
  );
  const tokens = openTokens({
    signingKeys: [auth.signingKey.reveal(), ...previous],
    issuer: auth.issuer,
    audience: auth.audience,
    accessExpiryMs: auth.accessTokenExpiry,
    refreshExpiryMs: auth.refreshTokenExpiry,
  });
  const database = databases.login;
  const { loginAttemptsLimit: attempts, loginLockoutDuration: lockoutMs, defaultMonthlyLimit } = rateLimit;
  return {
    authenticate: authenticator({ database, tokens, onFault }),
    parts: {
      databases,
      desk: new LoginDesk({ database, tokens, passwords, attempts, lockoutMs, ...failure }),
      conflicts: new ConflictThrottle(),
      mail,
      requireGroupDomains,
      defaultMonthlyLimit,
      longestTerms: longestTerms(config.retention),
      providers: providerParts(config, io),
      onReport,
      log,
    },
  };
}
