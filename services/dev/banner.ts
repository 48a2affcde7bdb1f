import type { Config } from "../../lib/config/settings.ts";

/** What a person needs to send a first mail; ends with the line `ready`. */
export function banner(config: Config, postgres: string, dataFolder: string, seconds: number): string {
  const { smtp, api, worker, tls, admin, instance } = config;
  const mode = tls.mode === "starttls" ? "STARTTLS" : "no TLS";
  const implicit = smtp.implicitTlsPort === 0 || tls.mode === "none"
    ? ""
    : `, ${smtp.host}:${smtp.implicitTlsPort} (TLS)`;
  const tlsFlags = tls.mode === "starttls" ? "--insecure" : "--tls none";
  const swaksTls = tls.mode === "starttls" ? "--tls " : "";
  return `
smtp-proxy runs (started in ${seconds.toFixed(1)} s, data in ${dataFolder}); Ctrl-C stops it

  SMTP       ${smtp.host}:${smtp.port} (${mode})${implicit}, user dev, password dev, senders @example.com
  API        http://${api.host}:${api.port}, administrator ${admin.email}${
    admin.password.reveal() === "admin" ? " / admin" : ""
  }
  PostgreSQL ${postgres}
  operations ${
    [smtp.opsPort, worker.opsPort, api.opsPort].map((port) => port + instance).join(", ")
  } (/healthz, /readyz, /metrics)

Send a first mail:
  npx -y deno@${Deno.version.deno} task client --host ${smtp.host} --port ${smtp.port} ${tlsFlags} --user dev --password dev --from you@example.com --to friend@example.org
  swaks --server ${smtp.host}:${smtp.port} ${swaksTls}--auth PLAIN --auth-user dev --auth-password dev --from you@example.com --to friend@example.org

ready
`;
}
