/**
 * Where a message stands between 0 and 1 (never 1): the same for the same id and salt for ever, spread evenly over
 * many ids, and independent of where it stands with another salt.
 */
export function shareOf(salt: string, id: string): number {
  let hash = 0x811c9dc5;
  const text = `${salt} ${id}`;
  for (let at = 0; at < text.length; at++) hash = Math.imul(hash ^ text.charCodeAt(at), 0x01000193);
  // The last letters have to reach every bit.
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return ((hash ^ (hash >>> 16)) >>> 0) / 2 ** 32;
}
