import type { Service } from "./config/checks.ts";
import { ConfigError } from "./config/load.ts";
import { loadProcessConfig } from "./config/process_config.ts";
import type { OpenedLog } from "./telemetry/log.ts";

/** What a process does anew when it is told to. */
export interface ReloadOptions {
  readonly service: Service;
  readonly log: OpenedLog;
  /** Besides the log's level; told at each SIGHUP. */
  readonly onReload?: () => void;
}

/**
 * At SIGHUP reads `logging.level` of the settings again, from file and variables, and tells who wants to know; nothing
 * stops. All other settings count from the next start. Where there is no SIGHUP nothing happens.
 */
export function reloadOnHangUp({ service, log, onReload = () => {} }: ReloadOptions): Disposable {
  if (Deno.build.os === "windows") return { [Symbol.dispose]: () => {} };
  function reload(): void {
    try {
      const { config } = loadProcessConfig(service, (name) => Deno.env.get(name));
      log.setLevel(config.logging.level);
      log.info("settings read again", { setting: `logging.level ${config.logging.level}` });
    } catch (error) {
      if (!(error instanceof ConfigError) && !(error instanceof Deno.errors.NotCapable)) throw error;
      log.warn("settings not read again", { error });
    }
    onReload();
  }
  Deno.addSignalListener("SIGHUP", reload);
  return { [Symbol.dispose]: () => Deno.removeSignalListener("SIGHUP", reload) };
}
