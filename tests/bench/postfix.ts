import { freePort } from "../support/ports.ts";
import { openSaslResponder } from "./sasl_responder.ts";
import type { Certificate, Target } from "./target.ts";

/** What a Postfix under load does with what it took: nothing, throw it away, or send it on by SMTP. */
export type PostfixDelivery = { readonly kind: "hold" | "discard" } | {
  readonly kind: "relay";
  readonly port: number;
};

/** Why Postfix cannot take part on this machine, or undefined when it can. */
export async function whyNoPostfix(): Promise<string | undefined> {
  if (Deno.build.os !== "linux" || Deno.uid() !== 0) return "Postfix must be started by root on Linux";
  try {
    await setting("mail_version");
    return undefined;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return "Postfix is not installed";
    throw error;
  }
}

/**
 * Starts a Postfix of its own in a new folder under `parent`: own configuration, own queue, one port on loopback,
 * STARTTLS and AUTH PLAIN. An installed and running Postfix is not touched. Logging goes where the system's goes.
 */
export async function openPostfix(
  parent: string,
  delivery: PostfixDelivery,
  certificate: Certificate,
): Promise<Target> {
  const folder = await Deno.makeTempDir({ dir: parent, prefix: `postfix-${delivery.kind}-` });
  const port = freePort();
  const sasl = await openSaslResponder({ user: "dev", password: "dev" });
  await makeQueue(`${folder}/queue`);
  await Deno.mkdir(`${folder}/conf`);
  await Deno.writeTextFile(`${folder}/conf/main.cf`, await mainCf(folder, delivery, certificate, sasl.port));
  await Deno.writeTextFile(`${folder}/conf/master.cf`, masterCf(port));
  await Deno.chmod(folder, 0o755);
  const master = new Deno.Command(`${await setting("daemon_directory")}/master`, {
    args: ["-c", `${folder}/conf`, "-d"],
    stdin: "null",
    stdout: "null",
    stderr: "inherit",
  }).spawn();
  await untilListening(port, master);
  return {
    name: `postfix-${delivery.kind}`,
    port,
    tls: "starttls",
    user: "dev",
    password: "dev",
    pids: [master.pid],
    async [Symbol.asyncDispose]() {
      master.kill("SIGTERM");
      await master.status;
      sasl.close();
      await Deno.remove(folder, { recursive: true });
    },
  };
}

async function setting(name: string): Promise<string> {
  const output = await new Deno.Command("/usr/sbin/postconf", { args: ["-dh", name], stderr: "null" })
    .output();
  return new TextDecoder().decode(output.stdout).trim();
}

async function idsOf(database: "passwd" | "group", name: string): Promise<number> {
  const output = await new Deno.Command("getent", { args: [database, name] }).output();
  return Number(new TextDecoder().decode(output.stdout).split(":")[2]);
}

/** The folders that Postfix's own start script would make. */
async function makeQueue(queue: string): Promise<void> {
  const [owner, postdrop] = [await idsOf("passwd", "postfix"), await idsOf("group", "postdrop")];
  const own = [
    "active",
    "bounce",
    "corrupt",
    "defer",
    "deferred",
    "flush",
    "hold",
    "incoming",
    "private",
    "saved",
  ];
  await Deno.mkdir(`${queue}/pid`, { recursive: true });
  await Deno.chmod(queue, 0o755);
  for (const name of [...own, "trace", "data"]) {
    await Deno.mkdir(`${queue}/${name}`, { mode: 0o700 });
    await Deno.chown(`${queue}/${name}`, owner, null);
  }
  for (const [name, mode] of [["public", 0o710], ["maildrop", 0o730]] as const) {
    await Deno.mkdir(`${queue}/${name}`);
    await Deno.chown(`${queue}/${name}`, owner, postdrop);
    await Deno.chmod(`${queue}/${name}`, mode);
  }
}

async function mainCf(
  folder: string,
  delivery: PostfixDelivery,
  { keyFile, certFile }: Certificate,
  saslPort: number,
): Promise<string> {
  const transport = delivery.kind === "relay" ? `smtp:[127.0.0.1]:${delivery.port}` : "discard:";
  return `
compatibility_level = 3.6
queue_directory = ${folder}/queue
data_directory = ${folder}/queue/data
daemon_directory = ${await setting("daemon_directory")}
myhostname = postfix.example.org
mydestination =
mynetworks = 127.0.0.0/8
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
alias_maps =
alias_database =
message_size_limit = 104857600
smtpd_tls_security_level = encrypt
smtpd_tls_chain_files = ${keyFile}, ${certFile}
smtpd_tls_auth_only = yes
smtpd_sasl_auth_enable = yes
smtpd_sasl_type = dovecot
smtpd_sasl_path = inet:127.0.0.1:${saslPort}
smtpd_relay_restrictions = permit_sasl_authenticated, reject
${delivery.kind === "hold" ? "smtpd_data_restrictions = check_client_access static:HOLD" : ""}
default_transport = ${transport}
smtp_tls_security_level = none
smtp_dns_support_level = disabled
`;
}

function masterCf(port: number): string {
  const unixServices = [
    "cleanup n 0",
    "qmgr n 1 qmgr",
    "tlsmgr - 1",
    "rewrite - - trivial-rewrite",
    "bounce - 0",
    "defer - 0 bounce",
    "trace - 0 bounce",
    "verify - 1",
    "flush n 0",
    "proxymap - -",
    "proxywrite - 1 proxymap",
    "smtp - -",
    "relay - - smtp",
    "showq n -",
    "error - -",
    "retry - - error",
    "discard - -",
    "anvil - 1",
    "scache - 1",
  ].map((text) => {
    const [name = "", isPrivate, processes, command = name] = text.split(" ");
    return `${name} unix ${isPrivate} - n - ${processes} ${command}`;
  });
  return [`127.0.0.1:${port} inet n - n - 200 smtpd`, ...unixServices, ""].join("\n");
}

async function untilListening(port: number, master: Deno.ChildProcess): Promise<void> {
  let ended = false;
  master.status.then(() => ended = true);
  for (let tries = 0; tries < 100 && !ended; tries++) {
    try {
      (await Deno.connect({ hostname: "127.0.0.1", port })).close();
      return;
    } catch (error) {
      if (!(error instanceof Deno.errors.ConnectionRefused)) throw error;
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }
  throw new Error("Cannot start Postfix: its master process does not listen");
}
