import { processWorld } from "../aws/credentials_world.ts";
import { createCredentials } from "../aws/open_credentials.ts";
import { awsDomain } from "../aws/region.ts";
import { CloudWatchClient } from "./cloudwatch.ts";
import { CloudWatchStream } from "./cloudwatch_stream.ts";

/** The `logging.cw_*` settings, and whose lines they are. */
export interface CloudWatchSettings {
  readonly service: string;
  readonly instance: number;
  readonly cwGroup: string;
  /** Empty is `<service>/<host name>/<instance>`. */
  readonly cwStream: string;
  readonly cwRegion: string;
  /** Empty is AWS. */
  readonly cwEndpoint: string;
  readonly maxWaitingBytes: number;
  readonly onDropped: (count: number) => void;
}

/** A log's way to CloudWatch Logs, with the identity that the process has there; the first request comes with the first line. */
export function openCloudWatch(settings: CloudWatchSettings): CloudWatchStream {
  const { service, instance, cwGroup: group, cwStream, cwRegion: region, cwEndpoint } = settings;
  const client = new CloudWatchClient({
    endpoint: new URL(cwEndpoint || `https://logs.${region}.${awsDomain(region)}/`),
    region,
    group,
    stream: cwStream || `${service}/${Deno.hostname()}/${instance}`,
    credentials: createCredentials(processWorld)({ kind: "chain", region }),
    fetch,
    now: () => new Date(),
  });
  return new CloudWatchStream({
    client,
    maxWaitingBytes: settings.maxWaitingBytes,
    onDropped: settings.onDropped,
    onFault: (reason) => write(Deno.stderr, `Cannot send log lines to CloudWatch: ${reason}\n`),
    lastResort: (text) => write(Deno.stdout, text),
  });
}

function write(output: typeof Deno.stderr | typeof Deno.stdout, text: string): void {
  const bytes = new TextEncoder().encode(text);
  for (let at = 0; at < bytes.length;) at += output.writeSync(bytes.subarray(at));
}
