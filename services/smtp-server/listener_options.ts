import type { Cidr } from "../../lib/network/cidr.ts";
import type { Log } from "../../lib/telemetry/log_fields.ts";
import type { ConnectionLimits } from "./conversation.ts";
import type { Observer } from "./intake.ts";
import type { SessionParts } from "./session.ts";

/** How a port is protected: STARTTLS on demand (and before AUTH), TLS from the first byte, or not at all. */
export type TlsMode = "starttls" | "implicit" | "none";

/** A port to listen on; 0 takes any that is free. */
export interface PortOptions {
  readonly host: string;
  readonly port: number;
  readonly tls: TlsMode;
}

/** PEM texts. */
export interface Certificate {
  readonly key: string;
  readonly cert: string;
}

/** Everything the listener needs; no part of the configuration as such. */
export interface ListenerOptions {
  readonly ports: readonly PortOptions[];
  /** Needed by every port that is not `none`. */
  readonly certificate?: Certificate;
  readonly session: SessionParts;
  readonly limits: ConnectionLimits;
  readonly trustedProxies: readonly Cidr[];
  readonly reusePort?: boolean;
  readonly observer: Observer;
  readonly log: Log;
}
