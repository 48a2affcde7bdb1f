/**
 * A text of somebody else's as every column takes it, also within jsonb: at most so many UTF-16 code units, no NUL, no
 * half of a character; what cannot be kept is shown as U+FFFD.
 */
export function storable(text: string, longest: number): string {
  const isCut = text.length > longest;
  const end = isCut && isHighSurrogate(text.charCodeAt(longest - 1)) ? longest - 1 : longest;
  return (isCut ? text.slice(0, end) : text).toWellFormed().replaceAll("\0", "\ufffd");
}

function isHighSurrogate(unit: number): boolean {
  return unit >= 0xd800 && unit <= 0xdbff;
}
