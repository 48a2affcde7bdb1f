import type { LoadTls } from "./load_options.ts";

/** A server under load: where it listens and which processes' costs are its own. */
export interface Target extends AsyncDisposable {
  readonly name: string;
  readonly port: number;
  readonly tls: LoadTls;
  readonly user: string;
  readonly password: string;
  /** The processes whose CPU and memory, descendants included, are the server's. */
  readonly pids: readonly number[];
}

/** The key and certificate that all servers of a run use, as files. */
export interface Certificate {
  readonly keyFile: string;
  readonly certFile: string;
}
