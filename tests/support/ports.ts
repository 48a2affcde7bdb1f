/** Below those that systems give to outgoing connections, so that none of these takes a port in between. */
const [lowest, highest] = [20_000, 32_000];
const given = new Set<number>();

/** A port on 127.0.0.1 that was free a moment ago; never the same twice for one process. */
export function freePort(): number {
  for (;;) {
    const port = lowest + Math.floor(Math.random() * (highest - lowest));
    if (given.has(port) || !isFree(port)) continue;
    given.add(port);
    return port;
  }
}

function isFree(port: number): boolean {
  try {
    Deno.listen({ hostname: "127.0.0.1", port }).close();
    return true;
  } catch (error) {
    if (error instanceof Deno.errors.AddrInUse) return false;
    throw error;
  }
}
