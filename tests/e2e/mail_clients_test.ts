// Clients that other people wrote, in each of the three ways to meet TLS.
import assert from "node:assert/strict";
import { ensureProgram } from "../support/debian_program.ts";
import { projectFolder } from "../../services/dev/task_command.ts";
import { rowsOf, withServices } from "../support/spawn_services.ts";

const modes = ["starttls", "implicit", "none"] as const;
type Mode = (typeof modes)[number];

/** How a client is run: its words, and what it reads. */
interface Run {
  readonly program: string;
  readonly args: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
  readonly input?: string;
}

type Client = (port: number, mode: Mode, mail: string) => Run | Promise<Run>;

const python = `
import smtplib, ssl, sys
port, mode, mail = int(sys.argv[1]), sys.argv[2], sys.stdin.read()
context = ssl._create_unverified_context()
client = smtplib.SMTP_SSL("127.0.0.1", port, context=context) if mode == "implicit" else smtplib.SMTP("127.0.0.1", port)
if mode == "starttls": client.starttls(context=context)
client.login("dev", "dev")
assert client.sendmail("me@example.com", ["you@example.net"], mail) == {}
client.quit()
`;

const nodemailer = [
  'const { createTransport } = (await import("nodemailer")).default;',
  "const [port, mode, raw] = Deno.args;",
  'const auth = { user: "dev", pass: "dev" };',
  "const tls = { rejectUnauthorized: false };",
  'const how = { secure: mode === "implicit", requireTLS: mode === "starttls", ignoreTLS: mode === "none" };',
  'const transport = createTransport({ host: "127.0.0.1", port: Number(port), auth, tls, ...how });',
  'await transport.sendMail({ envelope: { from: "me@example.com", to: "you@example.net" }, raw });',
  "transport.close();",
].join(" ");

const clients: Readonly<Record<string, Client>> = {
  async python(port, mode, mail) {
    const found = await ensureProgram({
      name: "python3",
      packages: ["python3"],
      try: ["-c", "import smtplib, ssl"],
      howToInstall: "install python3 so that it is on PATH",
    });
    return { program: found.path, env: found.env, args: ["-c", python, String(port), mode], input: mail };
  },
  async curl(port, mode, mail) {
    const found = await ensureProgram({
      name: "curl",
      packages: ["curl", "libcurl4"],
      try: ["--version"],
      howToInstall: "install curl so that it is on PATH",
    });
    const url = `${mode === "implicit" ? "smtps" : "smtp"}://127.0.0.1:${port}`;
    const required = mode === "starttls" ? ["--ssl-reqd"] : [];
    const words = `-sS -k ${url} --user dev:dev --mail-from me@example.com --mail-rcpt you@example.net -T -`;
    return { program: found.path, env: found.env, args: [...words.split(" "), ...required], input: mail };
  },
  nodemailer(port, mode, mail) {
    return { program: Deno.execPath(), args: ["eval", "--quiet", nodemailer, String(port), mode, mail] };
  },
};

async function run({ program, args, env = {}, input = "" }: Run, what: string): Promise<void> {
  const child = new Deno.Command(program, {
    args: [...args],
    env: { ...env },
    cwd: projectFolder,
    stdin: "piped",
    stdout: "piped",
    stderr: "piped",
  }).spawn();
  const writer = child.stdin.getWriter();
  await writer.write(new TextEncoder().encode(input));
  await writer.close();
  const { code, stderr } = await child.output();
  assert.equal(code, 0, `${what}: ${new TextDecoder().decode(stderr)}`);
}

Deno.test("clients that other people wrote submit mail by STARTTLS, by implicit TLS and without TLS", async () => {
  await withServices({ start: [] }, async (system) => {
    const { smtpServer, smtpPort, implicitTlsPort } = system;
    const expected: string[] = [];
    for (const mode of modes) {
      // Without TLS there is one port.
      if (mode !== "implicit") {
        await smtpServer.stop();
        await smtpServer.start({ SMTP_PROXY_TLS_MODE: mode });
      }
      for (const [name, client] of Object.entries(clients)) {
        const subject = `${name} ${mode}`;
        const mail = `From: me@example.com\r\nTo: you@example.net\r\nSubject: ${subject}\r\n\r\nHello\r\n`;
        await run(await client(mode === "implicit" ? implicitTlsPort : smtpPort, mode, mail), subject);
        expected.push(`${subject} ${mode === "none" ? "no TLS" : "TLS"}`);
      }
    }
    const rows = await rowsOf(
      system,
      "select subject || case when tls is null then ' no TLS' else ' TLS' end as line from messages order by id",
    );
    assert.deepEqual(rows.map(({ line }) => line), expected);
  });
});
