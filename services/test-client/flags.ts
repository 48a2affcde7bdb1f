/** What the test client was asked to do. */
export interface ClientSettings {
  readonly host: string;
  readonly port: number;
  readonly tls: "starttls" | "implicit" | "none";
  readonly insecure: boolean;
  readonly user: string;
  readonly password: string;
  readonly from: string;
  readonly to: readonly string[];
  readonly subject: string;
  readonly body: string;
  readonly html: string;
  readonly attach: readonly string[];
  readonly count: number;
  /** Mails a second. */
  readonly rate: number;
}

/** The command line read: help is wanted, it is wrong in these ways, or this is to be done. */
export type ParsedFlags =
  | { readonly kind: "help" }
  | { readonly kind: "wrong"; readonly mistakes: readonly string[] }
  | { readonly kind: "send"; readonly settings: ClientSettings };

interface Flag {
  readonly name: string;
  readonly help: string;
  readonly standard: string;
  readonly isSwitch?: boolean;
  readonly isRepeatable?: boolean;
  /** The variable that replaces the default; several values are separated by commas. */
  readonly variable?: string;
}

const flags: readonly Flag[] = [
  { name: "host", help: "SMTP server hostname", standard: "localhost", variable: "SMTP_PROXY_TEST_HOST" },
  { name: "port", help: "SMTP port", standard: "587", variable: "SMTP_PROXY_TEST_PORT" },
  { name: "tls", help: "starttls, implicit or none", standard: "starttls", variable: "SMTP_PROXY_TEST_TLS" },
  {
    name: "insecure",
    help: "Skip TLS certificate verification",
    standard: "false",
    isSwitch: true,
    variable: "SMTP_PROXY_TEST_INSECURE",
  },
  { name: "user", help: "SMTP AUTH username", standard: "", variable: "SMTP_PROXY_TEST_USER" },
  { name: "password", help: "SMTP AUTH password", standard: "", variable: "SMTP_PROXY_TEST_PASSWORD" },
  { name: "from", help: "Sender email address (required)", standard: "", variable: "SMTP_PROXY_TEST_FROM" },
  {
    name: "to",
    help: "Recipient address (required, repeatable)",
    standard: "",
    isRepeatable: true,
    variable: "SMTP_PROXY_TEST_TO",
  },
  { name: "subject", help: "Email subject", standard: "Test Email" },
  {
    name: "body",
    help: "Plain text body",
    standard: "This is a test email sent by smtp-proxy test-client.",
  },
  { name: "html", help: "HTML body (sends multipart/alternative)", standard: "" },
  { name: "attach", help: "File attachment path (repeatable)", standard: "", isRepeatable: true },
  { name: "count", help: "Number of emails to send", standard: "1" },
  { name: "rate", help: "Emails per second", standard: "1" },
];

/** How to call the test client, one line per flag. */
export function usage(): string {
  const lines = flags.map(({ name, help, standard, variable }) => {
    const origin = variable === undefined ? "" : ` [${variable}]`;
    const otherwise = standard === "" ? "" : ` (default ${JSON.stringify(standard)})`;
    return `  --${name.padEnd(10)} ${help}${otherwise}${origin}`;
  });
  return [
    "Usage: test-client --from ADDRESS --to ADDRESS [flags]",
    "",
    ...lines,
    "  --help       Show this",
    "  --version    Show version, commit and Deno",
    "",
  ]
    .join("\n");
}

/** Reads `--flag value` and `--flag=value`, and defaults from variables; names every mistake at once. */
export function parseFlags(
  args: readonly string[],
  variable: (name: string) => string | undefined,
): ParsedFlags {
  if (args.some((arg) => arg === "--help" || arg === "-h")) return { kind: "help" };
  const mistakes: string[] = [];
  const given = readFlags(args, mistakes);
  const values = (name: string): readonly string[] => {
    const flag = flags.find((candidate) => candidate.name === name);
    const fromVariable = flag?.variable === undefined ? undefined : variable(flag.variable) || undefined;
    const standard = flag?.standard === "" ? [] : [flag?.standard ?? ""];
    return given.get(name) ?? fromVariable?.split(flag?.isRepeatable ? /\s*,\s*/ : /(?!)/) ?? standard;
  };
  const settings = readSettings(values, mistakes);
  return mistakes.length > 0 ? { kind: "wrong", mistakes } : { kind: "send", settings };
}

function readFlags(args: readonly string[], mistakes: string[]): ReadonlyMap<string, readonly string[]> {
  const given = new Map<string, readonly string[]>();
  for (let index = 0; index < args.length; index++) {
    const arg = args[index] ?? "";
    const parts = /^--([a-z]+)(?:=(.*))?$/s.exec(arg);
    const flag = flags.find(({ name }) => name === parts?.[1]);
    if (flag === undefined) {
      mistakes.push(`Unknown argument: ${JSON.stringify(arg)}`);
      continue;
    }
    const value = parts?.[2] ?? (flag.isSwitch ? "true" : args[++index]);
    if (value === undefined) mistakes.push(`Cannot read --${flag.name}: its value is missing`);
    else given.set(flag.name, flag.isRepeatable ? [...given.get(flag.name) ?? [], value] : [value]);
  }
  return given;
}

function readSettings(
  values: (name: string) => readonly string[],
  mistakes: string[],
): ClientSettings {
  const text = (name: string) => values(name)[0] ?? "";
  const numeric = (name: string, isRight: (value: number) => boolean, wanted: string) => {
    const value = text(name).trim() === "" ? NaN : Number(text(name));
    if (!isRight(value)) {
      mistakes.push(`Cannot read --${name}: ${wanted} is wanted, it is ${JSON.stringify(text(name))}`);
    }
    return value;
  };
  const oneOf = <Value extends string>(name: string, wanted: readonly Value[]): Value => {
    const value = wanted.find((candidate) => candidate === text(name));
    if (value === undefined) {
      mistakes.push(
        `Cannot read --${name}: ${wanted.join(", ")} is wanted, it is ${JSON.stringify(text(name))}`,
      );
    }
    return value ?? wanted[0] as Value;
  };
  const needed = (name: string) => {
    const found = values(name).filter((value) => value.trim() !== "");
    if (found.length === 0) mistakes.push(`--${name} is required`);
    return found;
  };
  const isPort = (value: number) => Number.isInteger(value) && value > 0 && value < 65536;
  return {
    host: text("host"),
    port: numeric("port", isPort, "a number from 1 to 65535"),
    tls: oneOf("tls", ["starttls", "implicit", "none"]),
    insecure: oneOf("insecure", ["false", "true"]) === "true",
    user: text("user"),
    password: text("password"),
    from: needed("from")[0] ?? "",
    to: needed("to"),
    subject: text("subject"),
    body: text("body"),
    html: text("html"),
    attach: values("attach").filter((path) => path !== ""),
    count: numeric(
      "count",
      (value) => Number.isInteger(value) && value > 0 && value <= 1e9,
      "a whole number from 1",
    ),
    rate: numeric("rate", (value) => value > 0 && value <= 1e6, "a number above 0"),
  };
}
