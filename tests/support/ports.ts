/** Below the ports that systems hand out by themselves, to clients and to those who listen on port 0. */
const first = 10_000;
const blockSize = 200;
const blocks = 110;
const block = takeBlock();
let asked = 0;

/**
 * A port on 127.0.0.1 that nobody else takes before it is used, nor while its user is restarted; the same again only
 * after 198 others.
 */
export function freePort(): number {
  for (let tried = 1; tried < blockSize; tried++) {
    const port = block + 1 + asked++ % (blockSize - 1);
    if (listenOn(port, (listener) => listener.close())) return port;
  }
  throw new Error(`Cannot find a free port: all from ${block} on are taken`);
}

/** Ports for this module alone: whoever listens on the first one of a block, to its own end, has the others. */
function takeBlock(): number {
  const start = Math.floor(Math.random() * blocks);
  for (let tried = 0; tried < blocks; tried++) {
    const port = first + (start + tried) % blocks * blockSize;
    if (listenOn(port, (listener) => listener.unref())) return port;
  }
  throw new Error(`Cannot find free ports: all from ${first} on are taken`);
}

function listenOn(port: number, use: (listener: Deno.Listener) => void): boolean {
  try {
    use(Deno.listen({ hostname: "127.0.0.1", port }));
    return true;
  } catch (error) {
    if (error instanceof Deno.errors.AddrInUse) return false;
    throw error;
  }
}
