import { SMTPServer } from "smtp-server";
import { SMTPConnection } from "smtp-server/lib/smtp-connection.js";
import type { ListenerOptions, TlsMode } from "./listener_options.ts";

/** What `libraryServer` makes. */
export type LibraryServer = SMTPServer;

/** The library's connection, to be overridden: its command phase serves ours. */
export class LibraryConnection extends SMTPConnection {}

/** The library's server for one port: it listens to nothing, it lends its options and its TLS to our connections. */
export function libraryServer(
  tls: TlsMode,
  { certificate, session, limits, log }: ListenerOptions,
): LibraryServer {
  if (tls !== "none" && certificate === undefined) {
    throw new Error(`Cannot listen with TLS: no certificate is given`);
  }
  const server = new SMTPServer({
    ...(certificate === undefined ? {} : { key: certificate.key, cert: certificate.cert }),
    name: session.rules.hostname,
    heloResponse: "%s",
    size: session.rules.maxMessageSize,
    secure: tls === "implicit",
    needsUpgrade: tls === "implicit",
    minVersion: "TLSv1.2",
    authMethods: ["PLAIN", "LOGIN"],
    maxAllowedUnauthenticatedCommands: Infinity,
    disabledCommands: [
      "WIZ",
      "SHELL",
      "KILL",
      "XCLIENT",
      "XFORWARD",
      ...(tls === "starttls" ? [] : ["STARTTLS"]),
    ],
    hideENHANCEDSTATUSCODES: false,
    hideDSN: false,
    disableReverseLookup: true,
    logger: false,
    socketTimeout: limits.handshakeMs,
    onConnect: (_session, done) => done(),
    onSecure: (socket, _session, done) => {
      socket.allowHalfOpen = true;
      done();
    },
  });
  server.on("error", (error: Error) => log.debug("connection failed", { error }));
  return server;
}
