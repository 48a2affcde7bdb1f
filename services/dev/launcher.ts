import { commandOf, isRunning, parentOf } from "./processes.ts";

/** What stands between a person's shell and this process: `deno task`, the shell that npm starts it with, npm. */
const launching = [
  /^\S*\bdeno\S* task\b/,
  /^\S*\bsh -c ['"]?deno\b/,
  /^np[mx]\b/,
  /^\S*\bnode\S* \S*\/(np[mx](-cli\.js)?|deno|bin\.cjs)\b/,
];

/** The processes that launched one, nearest first, as long as they do nothing but that. */
export async function launchersOf(pid: number): Promise<readonly number[]> {
  const parent = await parentOf(pid);
  if (parent === undefined || parent <= 1) return [];
  const command = await commandOf(parent);
  return launching.some((pattern) => pattern.test(command)) ? [parent, ...await launchersOf(parent)] : [];
}

/**
 * Calls back when one of the launchers is gone, looking every half second: npm and its shell end by SIGTERM
 * without passing it on (ruling 1.1). Disposing stops looking.
 */
export function watchLaunchers(
  launchers: readonly number[],
  gone: () => void,
  isThere: (pid: number) => Promise<boolean> = isRunning,
): Disposable {
  async function look(): Promise<void> {
    const running = await Promise.all(launchers.map(isThere));
    if (isOver) return;
    if (running.includes(false)) gone();
    else timer = setTimeout(look, 500);
  }
  let isOver = false;
  let timer = setTimeout(look, 500);
  return {
    [Symbol.dispose]() {
      isOver = true;
      clearTimeout(timer);
    },
  };
}
