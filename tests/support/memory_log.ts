import type { Log, LogFields, LogLevel } from "../../lib/telemetry/log_fields.ts";

/** One line as it was logged, with the fields that `with` added. */
export interface LoggedLine {
  readonly level: LogLevel;
  readonly sentence: string;
  readonly fields: LogFields;
}

/** A log that keeps its lines in memory, newest last. */
export interface MemoryLog extends Log {
  readonly lines: readonly LoggedLine[];
}

/** A log for tests: needs no permission and writes nowhere. */
export function memoryLog(lines: LoggedLine[] = [], always: LogFields = {}): MemoryLog {
  function add(level: LogLevel) {
    return (sentence: string, fields: LogFields = {}) => {
      lines.push({ level, sentence, fields: { ...always, ...fields } });
    };
  }
  return {
    lines,
    debug: add("debug"),
    info: add("info"),
    warn: add("warn"),
    error: add("error"),
    with: (fields) => memoryLog(lines, { ...always, ...fields }),
  };
}
