const given = new Set<number>();

/** A port on 127.0.0.1 that was free a moment ago; never the same twice for one process. */
export function freePort(): number {
  for (;;) {
    const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
    listener.close();
    const { port } = listener.addr as Deno.NetAddr;
    if (given.has(port)) continue;
    given.add(port);
    return port;
  }
}
