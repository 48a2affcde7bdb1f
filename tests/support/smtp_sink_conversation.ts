import { Buffer } from "node:buffer";

/** A mail that a sink answered 250 for. */
export interface SinkMail {
  readonly connection: number;
  /** Arguments of MAIL and RCPT as they came, parameters included. */
  readonly from: string;
  readonly to: readonly string[];
  /** The message without doubled dots; only the first bytes when `keepBytes` is smaller. */
  readonly bytes: Uint8Array;
  readonly isSecure: boolean;
  readonly user?: string;
}

/** A point at which a sink can be told to misbehave; `body` is the first byte after 354, `dot` the end. */
export interface SinkStep {
  readonly at:
    | "connect"
    | "EHLO"
    | "HELO"
    | "STARTTLS"
    | "AUTH"
    | "MAIL"
    | "RCPT"
    | "DATA"
    | "body"
    | "dot"
    | "RSET"
    | "QUIT"
    | "NOOP";
  /** The rest of the command line. */
  readonly argument: string;
  /** From 1 in the order of connecting. */
  readonly connection: number;
  /** Transactions begun on this connection, this one included. */
  readonly transaction: number;
}

/** What to do instead of the usual; several together happen in this order. */
export interface SinkAction {
  /** Does nothing before that has resolved. */
  readonly after?: Promise<void>;
  readonly delayMs?: number;
  /** The reply without its line end. */
  readonly reply?: string;
  /** Never answer and read no further. */
  readonly hang?: boolean;
  /** Drop the connection, after the reply where one is given. */
  readonly drop?: boolean;
}

/** How a conversation goes. */
export interface SinkRules {
  /** Lines of the EHLO answer besides STARTTLS and AUTH. */
  readonly extensions: readonly string[];
  /** Demanded when given, by PLAIN or LOGIN. */
  readonly auth?: { readonly username: string; readonly password: string; readonly mechanisms?: string };
  readonly script?: (step: SinkStep) => SinkAction | undefined;
  readonly keepBytes: number;
  readonly offersTls: boolean;
}

/** The world of a conversation. */
export interface SinkWires {
  readonly write: (text: string) => void;
  /** At once, or after what was written. */
  readonly drop: () => void;
  readonly end: () => void;
  /** Reads no further. */
  readonly pause: () => void;
  readonly startTls: () => void;
  readonly later: (ms: number, work: () => void) => void;
  readonly step: (step: SinkStep) => void;
  readonly mail: (mail: SinkMail) => void;
}

const usualExtensions = ["PIPELINING", "SIZE 52428800", "8BITMIME", "SMTPUTF8", "DSN", "ENHANCEDSTATUSCODES"];
const terminator = Buffer.from("\r\n.\r\n", "latin1");
const lineEnd = Buffer.from("\r\n", "latin1");

/** The server's side of one SMTP connection, fed with bytes. */
export class SinkConversation {
  isSecure = false;
  readonly #connection: number;
  readonly #rules: SinkRules;
  readonly #wires: SinkWires;
  #rest: Buffer = Buffer.alloc(0);
  #replies = "";
  #mode: "commands" | "login-user" | "login-password" | "data" | "stopped" = "commands";
  #isWaiting = false;
  #transaction = 0;
  #from: string | undefined;
  #to: string[] = [];
  #chunks: Buffer[] = [];
  #kept = 0;
  #tail: Buffer = lineEnd;
  #isBodyBegun = false;
  #user: string | undefined;
  #loginName = "";

  constructor(connection: number, rules: Partial<SinkRules>, wires: SinkWires) {
    this.#connection = connection;
    this.#rules = { extensions: usualExtensions, keepBytes: Infinity, offersTls: false, ...rules };
    this.#wires = wires;
  }

  /** Greets. */
  begin(): void {
    this.#answer("connect", "", "220 sink ESMTP");
    this.#flush();
  }

  /** Takes what the client wrote. */
  receive(chunk: Buffer): void {
    if (this.#mode === "stopped") return;
    this.#rest = this.#rest.length === 0 ? chunk : Buffer.concat([this.#rest, chunk]);
    this.#proceed();
  }

  #proceed(): void {
    while (!this.#isWaiting && this.#mode !== "stopped" && this.#rest.length > 0) {
      if (this.#mode === "data") {
        this.#readData();
        continue;
      }
      const end = this.#rest.indexOf(lineEnd);
      if (end < 0) break;
      const line = this.#rest.toString("utf8", 0, end);
      this.#rest = this.#rest.subarray(end + 2);
      this.#command(line);
    }
    this.#flush();
  }

  #command(line: string): void {
    if (this.#mode === "login-user") return this.#loginUser(line);
    if (this.#mode === "login-password") return this.#loginPassword(line);
    const space = line.indexOf(" ");
    const verb = (space < 0 ? line : line.slice(0, space)).toUpperCase();
    const argument = space < 0 ? "" : line.slice(space + 1);
    switch (verb) {
      case "EHLO":
      case "HELO":
        return this.#answer(verb, argument, verb === "EHLO" ? this.#ehlo() : "250 sink");
      case "STARTTLS":
        return this.#answer(verb, argument, "220 2.0.0 go on", () => {
          this.#flush();
          this.isSecure = true;
          this.#rest = Buffer.alloc(0);
          this.#wires.startTls();
        });
      case "AUTH":
        return this.#auth(argument);
      case "MAIL":
        return this.#mail(argument);
      case "RCPT":
        if (this.#from === undefined) return this.#say("503 5.5.1 MAIL first");
        return this.#answer(verb, argument, "250 2.1.5 recipient ok", () => this.#to.push(argument.slice(3)));
      case "DATA":
        if (this.#to.length === 0) return this.#say("554 5.5.1 no valid recipients");
        return this.#answer(verb, argument, "354 go on", () => this.#beginData());
      case "RSET":
        return this.#answer(verb, argument, "250 2.0.0 reset", () => this.#forget());
      case "NOOP":
        return this.#answer(verb, argument, "250 2.0.0 ok");
      case "QUIT":
        return this.#answer(verb, argument, "221 2.0.0 bye", () => this.#stop({ drop: true }, "221"));
      default:
        return this.#say("500 5.5.2 unknown command");
    }
  }

  #ehlo(): string {
    const lines = ["sink", ...this.#rules.extensions];
    if (this.#rules.offersTls && !this.isSecure) lines.push("STARTTLS");
    if (this.#rules.auth) lines.push(`AUTH ${this.#rules.auth.mechanisms ?? "PLAIN LOGIN"}`);
    return lines.map((line, index) => `250${index === lines.length - 1 ? " " : "-"}${line}`).join("\r\n");
  }

  #mail(argument: string): void {
    if (this.#rules.auth && this.#user === undefined) return this.#say("530 5.7.0 authentication required");
    if (this.#from !== undefined) return this.#say("503 5.5.1 nested MAIL");
    this.#transaction++;
    this.#answer("MAIL", argument, "250 2.1.0 sender ok", () => this.#from = argument.slice(5));
  }

  #auth(argument: string): void {
    const [mechanism = "", initial] = argument.split(" ");
    if (mechanism.toUpperCase() === "LOGIN") {
      this.#mode = "login-user";
      return this.#say("334 VXNlcm5hbWU6");
    }
    const [, name = "", password = ""] = Buffer.from(initial ?? "", "base64").toString("utf8").split("\0");
    this.#judgeLogin(name, password, argument);
  }

  #loginUser(line: string): void {
    this.#loginName = Buffer.from(line, "base64").toString("utf8");
    this.#mode = "login-password";
    this.#say("334 UGFzc3dvcmQ6");
  }

  #loginPassword(line: string): void {
    this.#mode = "commands";
    this.#judgeLogin(this.#loginName, Buffer.from(line, "base64").toString("utf8"), "LOGIN");
  }

  #judgeLogin(name: string, password: string, argument: string): void {
    const { auth } = this.#rules;
    const isRight = auth !== undefined && name === auth.username && password === auth.password;
    const usual = isRight ? "235 2.7.0 welcome" : "535 5.7.8 wrong credentials";
    this.#answer("AUTH", argument, usual, () => this.#user = name);
  }

  #beginData(): void {
    this.#mode = "data";
    this.#chunks = [];
    this.#kept = 0;
    this.#tail = lineEnd;
    this.#isBodyBegun = false;
  }

  #readData(): void {
    const piece = this.#rest;
    if (!this.#isBodyBegun) {
      this.#isBodyBegun = true;
      this.#run({ at: "body", argument: "" }, undefined, () => {});
      if (this.#isWaiting || this.#mode !== "data") return;
    }
    // The end may be spread over two pieces; the line end before the first line is the command's.
    const joint = Buffer.concat([this.#tail, piece.subarray(0, 4)]);
    const early = joint.indexOf(terminator);
    const found = early >= 0 ? early - this.#tail.length : piece.indexOf(terminator);
    if (found < 0 && early < 0) {
      this.#keep(piece);
      this.#tail = Buffer.concat([this.#tail, piece]).subarray(-4);
      this.#rest = Buffer.alloc(0);
      return;
    }
    this.#keep(piece.subarray(0, Math.max(0, found + 2)));
    this.#rest = piece.subarray(found + terminator.length);
    this.#endData(found + 2);
  }

  #keep(piece: Buffer): void {
    if (this.#kept >= this.#rules.keepBytes) return;
    this.#chunks.push(piece);
    this.#kept += piece.length;
  }

  #endData(overlap: number): void {
    this.#mode = "commands";
    const whole = Buffer.concat(this.#chunks);
    // A terminator that began in an earlier piece leaves a dot, or its CR and LF, in what was kept.
    const raw = overlap < 0 ? whole.subarray(0, whole.length + overlap) : whole;
    const mail = {
      connection: this.#connection,
      from: this.#from ?? "",
      to: this.#to,
      bytes: unstuffed(raw),
      isSecure: this.isSecure,
      ...(this.#user === undefined ? {} : { user: this.#user }),
    };
    this.#forget();
    this.#answer(
      "dot",
      "",
      "250 2.0.0 Ok: queued as SINK" + this.#connection + "T" + this.#transaction,
      () => {
        this.#wires.mail(mail);
      },
    );
  }

  #forget(): void {
    this.#from = undefined;
    this.#to = [];
    this.#chunks = [];
  }

  #answer(at: SinkStep["at"], argument: string, usual: string, onSuccess: () => void = () => {}): void {
    this.#run({ at, argument }, usual, onSuccess);
  }

  /** Does what the script says, else answers as usual; `onSuccess` only when the reply is none of 4yz and 5yz. */
  #run(step: Pick<SinkStep, "at" | "argument">, usual: string | undefined, onSuccess: () => void): void {
    const full = { ...step, connection: this.#connection, transaction: this.#transaction };
    this.#wires.step(full);
    const action = this.#rules.script?.(full) ?? {};
    const act = () => {
      const isSilent = action.hang === true || action.drop === true;
      const reply = action.reply ?? (isSilent ? undefined : usual);
      if (reply !== undefined) this.#say(reply);
      if (reply !== undefined && !/^[45]/.test(reply)) onSuccess();
      if (isSilent) this.#stop(action, reply);
    };
    const { after, delayMs } = action;
    if (after === undefined && delayMs === undefined) return act();
    this.#isWaiting = true;
    this.#flush();
    const goOn = () => {
      this.#isWaiting = false;
      act();
      this.#proceed();
    };
    const wait = () => delayMs === undefined ? goOn() : this.#wires.later(delayMs, goOn);
    if (after === undefined) wait();
    else after.then(wait);
  }

  #say(reply: string): void {
    this.#replies += `${reply}\r\n`;
  }

  #flush(): void {
    if (this.#replies === "") return;
    const replies = this.#replies;
    this.#replies = "";
    this.#wires.write(replies);
  }

  #stop(action: SinkAction, reply: string | undefined): void {
    this.#flush();
    this.#mode = "stopped";
    if (action.drop !== true) return this.#wires.pause();
    if (reply === undefined) this.#wires.drop();
    else this.#wires.end();
  }
}

function unstuffed(raw: Buffer): Uint8Array {
  const parts: Buffer[] = [];
  let from = raw[0] === 46 ? 1 : 0;
  for (let at = raw.indexOf("\r\n."); at >= 0; at = raw.indexOf("\r\n.", at + 3)) {
    parts.push(raw.subarray(from, at + 2));
    from = at + 3;
  }
  return parts.length === 0 && from === 0 ? raw : Buffer.concat([...parts, raw.subarray(from)]);
}
