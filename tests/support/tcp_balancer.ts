/** One address for several servers: connections take turns among those that take them. */
export interface TcpBalancer extends AsyncDisposable {
  readonly port: number;
  /** How many connections each server was given, in the order of their ports. */
  readonly given: readonly number[];
}

/** Listens on 127.0.0.1 and passes each connection on to the next server that takes it; without one it is closed. */
export function startTcpBalancer(serverPorts: readonly number[]): TcpBalancer {
  const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const open = new Set<Deno.Conn>();
  const running = new Set<Promise<void>>();
  const given = serverPorts.map(() => 0);
  let turn = 0;
  const accepting = accept();
  return {
    port: (listener.addr as Deno.NetAddr).port,
    given,
    async [Symbol.asyncDispose]() {
      listener.close();
      for (const connection of open) close(connection);
      await accepting;
      await Promise.all(running);
    },
  };

  async function accept(): Promise<void> {
    for await (const client of listener) {
      const served = serve(client).finally(() => running.delete(served));
      running.add(served);
    }
  }

  async function serve(client: Deno.Conn): Promise<void> {
    open.add(client);
    const server = await connect();
    if (server !== undefined) {
      open.add(server);
      await Promise.all([pass(client, server), pass(server, client)]);
      open.delete(server);
      close(server);
    }
    open.delete(client);
    close(client);
  }

  async function connect(): Promise<Deno.Conn | undefined> {
    for (let tried = 0; tried < serverPorts.length; tried++) {
      const index = turn++ % serverPorts.length;
      const port = serverPorts[index] ?? 0;
      try {
        const server = await Deno.connect({ hostname: "127.0.0.1", port });
        given[index] = (given[index] ?? 0) + 1;
        return server;
      } catch (error) {
        if (!(error instanceof Deno.errors.ConnectionRefused)) throw error;
      }
    }
    return undefined;
  }
}

/** Passes bytes on until one side ends, and then ends the other. */
async function pass(from: Deno.Conn, to: Deno.Conn): Promise<void> {
  const buffer = new Uint8Array(16 * 1024);
  try {
    for (;;) {
      const read = await from.read(buffer);
      if (read === null) break;
      for (let sent = 0; sent < read;) sent += await to.write(buffer.subarray(sent, read));
    }
    await to.closeWrite();
  } catch (error) {
    if (!isGone(error)) throw error;
    close(to);
  }
}

function close(connection: Deno.Conn): void {
  try {
    connection.close();
  } catch (error) {
    if (!isGone(error)) throw error;
  }
}

function isGone(error: unknown): boolean {
  return ["BadResource", "ConnectionReset", "BrokenPipe", "NotConnected", "Interrupted", "ConnectionAborted"]
    .some((name) => error instanceof Error && error.name === name);
}
