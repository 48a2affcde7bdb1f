import roll from "pino-roll";

/** What a log writes to: takes lines at once, writes them in batches, never fails a caller. */
export interface LogStream {
  write(line: string): unknown;
  flushSync(): void;
  end(): void;
  destroy(): void;
  on(event: "error", handler: (error: unknown) => void): unknown;
  on(event: "close", handler: () => void): unknown;
  /** Lines that were not taken because too many wait already. */
  on(event: "drop", handler: (text: unknown) => void): unknown;
}

/** Which file, and how much of it is kept. */
export interface RotatingFile {
  readonly service: string;
  readonly instance: number;
  readonly filePath: string;
  readonly maxSizeMb: number;
  /** Files kept, the current one included. */
  readonly maxFiles: number;
  readonly maxWaitingBytes: number;
}

/**
 * Opens `<filePath without .log>-<service>-<instance>.<n>.log`: every process rotates files of its own.
 * Throws when the file cannot be opened.
 */
export async function openRotatingFile(file: RotatingFile): Promise<LogStream> {
  const stream = await roll({
    file: fileStem(file),
    extension: ".log",
    size: `${file.maxSizeMb}m`,
    limit: { count: file.maxFiles - 1, removeOtherLogFiles: true },
    mkdir: true,
    sync: false,
    maxLength: file.maxWaitingBytes,
  });
  await opened(stream);
  return stream;
}

function fileStem({ filePath, service, instance }: RotatingFile): string {
  return `${filePath.replace(/\.log$/, "")}-${service}-${instance}`;
}

function opened(stream: Awaited<ReturnType<typeof roll>>): Promise<void> {
  return new Promise((resolve, reject) => {
    stream.once("ready", resolve);
    stream.once("error", reject);
  });
}

/** A JSON line as one line for people: time, level, sentence, then the fields as name=value. */
export function asText(line: string): string {
  const { time, level, message, ...fields } = JSON.parse(line) as Record<string, unknown>;
  const rest = Object.entries(fields).map(([name, value]) => ` ${name}=${JSON.stringify(value)}`).join("");
  return `${time} ${String(level).toUpperCase().padEnd(5)} ${message}${rest}\n`;
}
