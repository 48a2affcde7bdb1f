// CloudWatch Logs' side of taking lines (API version 2014-03-28), as strict as its documentation; it shares no code
// with the client that it checks.
import { Buffer } from "node:buffer";
import { type AwsKey, signatureFault } from "./aws_signature.ts";
import { FaultyHttp } from "./faulty_http.ts";
import type { HttpReply, SeenRequest } from "./faulty_http.ts";

/** A line as it was taken. */
export interface TakenLine {
  readonly timestamp: number;
  readonly message: string;
}

type Content = Readonly<Record<string, unknown>>;

const day = 86_400_000;

/** The log groups of an account in one region. */
export class FakeCloudWatch implements AsyncDisposable {
  /** Lines by `group stream`. */
  readonly streams = new Map<string, TakenLine[]>();
  readonly groups = new Set<string>();
  readonly keys = new Map<string, AwsKey>();
  /** How far its clock is ahead of ours. */
  aheadMs = 0;
  readonly region = "eu-west-1";
  #http: FaultyHttp | undefined;

  /** Starts one on loopback that knows one pair of keys, and no group. */
  static async open(): Promise<FakeCloudWatch> {
    const fake = new FakeCloudWatch();
    fake.keys.set("AKIDLOGS", { secret: "the/secret+of+logs" });
    fake.#http = await FaultyHttp.open((request) => {
      const reply = fake.#answer(request);
      return { ...reply, headers: { "Date": fake.#now().toUTCString(), ...reply.headers } };
    });
    return fake;
  }

  get http(): FaultyHttp {
    if (this.#http === undefined) throw new Error("The server does not run");
    return this.#http;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.http[Symbol.asyncDispose]();
  }

  #now(): Date {
    return new Date(Date.now() + this.aheadMs);
  }

  #answer(request: SeenRequest): HttpReply {
    const fault = signatureFault(request, {
      service: "logs",
      region: this.region,
      keys: this.keys,
      now: this.#now(),
    });
    if (fault !== undefined) return failed(fault.type, fault.message);
    if (request.method !== "POST" || request.target !== "/") return failed("UnknownOperationException");
    if (request.headers.get("content-type") !== "application/x-amz-json-1.1") {
      return failed("SerializationException");
    }
    const content = JSON.parse(Buffer.from(request.body).toString()) as Content;
    switch (request.headers.get("x-amz-target")) {
      case "Logs_20140328.CreateLogGroup":
        return this.#createGroup(content);
      case "Logs_20140328.CreateLogStream":
        return this.#createStream(content);
      case "Logs_20140328.PutLogEvents":
        return this.#put(content);
      default:
        return failed("UnknownOperationException");
    }
  }

  #createGroup({ logGroupName: group, ...others }: Content): HttpReply {
    if (typeof group !== "string" || !/^[.\-_/#A-Za-z0-9]{1,512}$/.test(group)) {
      return invalid("logGroupName");
    }
    if (Object.keys(others).length > 0) return invalid("fields");
    if (this.groups.has(group)) return failed("ResourceAlreadyExistsException");
    this.groups.add(group);
    return { status: 200, body: "" };
  }

  #createStream({ logGroupName: group, logStreamName: stream, ...others }: Content): HttpReply {
    if (typeof group !== "string" || Object.keys(others).length > 0) return invalid("fields");
    if (typeof stream !== "string" || !/^[^:*]{1,512}$/.test(stream)) return invalid("logStreamName");
    if (!this.groups.has(group)) {
      return failed("ResourceNotFoundException", "The specified log group does not exist.");
    }
    if (this.streams.has(`${group} ${stream}`)) return failed("ResourceAlreadyExistsException");
    this.streams.set(`${group} ${stream}`, []);
    return { status: 200, body: "" };
  }

  #put({ logGroupName: group, logStreamName: stream, logEvents: events, ...others }: Content): HttpReply {
    if (Object.keys(others).length > 0) return invalid("fields");
    if (!Array.isArray(events) || events.length < 1 || events.length > 10_000) return invalid("logEvents");
    const lines = events as readonly TakenLine[];
    let bytes = 0;
    let before = -Infinity;
    for (const { timestamp, message } of lines) {
      if (!Number.isInteger(timestamp) || typeof message !== "string" || message === "") {
        return invalid("logEvents");
      }
      if (timestamp < before) {
        return invalid("Log events in a single request must be in chronological order.");
      }
      before = timestamp;
      const size = Buffer.byteLength(message) + 26;
      if (size > 262_144) return invalid("Log event too large");
      bytes += size;
    }
    if (bytes > 1_048_576) return invalid("Upload too large");
    const taken = this.streams.get(`${group} ${stream}`);
    if (taken === undefined) {
      return failed("ResourceNotFoundException", "The specified log stream does not exist.");
    }
    const now = this.#now().getTime();
    const tooOld = lines.filter(({ timestamp }) => timestamp < now - 14 * day).length;
    taken.push(...lines.slice(tooOld));
    return {
      status: 200,
      headers: { "Content-Type": "application/x-amz-json-1.1" },
      body: tooOld === 0 ? {} : { rejectedLogEventsInfo: { tooOldLogEventEndIndex: tooOld } },
    };
  }
}

function invalid(what: string): HttpReply {
  return failed("InvalidParameterException", what);
}

function failed(type: string, message = ""): HttpReply {
  return {
    status: 400,
    headers: { "Content-Type": "application/x-amz-json-1.1" },
    body: { __type: type, message },
  };
}
