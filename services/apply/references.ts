/** Where secrets come from. */
export interface SecretSources {
  readonly variable: (name: string) => string | undefined;
  /** Throws when there is no such file, or it cannot be read. */
  readonly readFile: (path: string) => string;
}

/** A secret, or why there is none, as a sentence that does not show it. */
export type FoundSecret = { readonly secret: string } | { readonly mistake: string };

const longest = 100_000;

/** The secret that `env:NAME` or `file:PATH` names; of a file without the line's end at its end. */
export function findSecret(text: string, { variable, readFile }: SecretSources): FoundSecret {
  const [, kind, place = ""] = /^(env|file):(.+)$/.exec(text) ?? [];
  if (kind === undefined) return { mistake: "a secret is named as env:NAME or file:PATH" };
  if (kind === "env") {
    const secret = variable(place);
    return secret === undefined || secret === ""
      ? { mistake: `the variable ${place} is not set` }
      : checked(secret, place);
  }
  try {
    return checked(readFile(place).replace(/\r?\n$/, ""), place);
  } catch (error) {
    return {
      mistake: `the file ${place} cannot be read: ${error instanceof Error ? error.message : String(error)}`,
    };
  }
}

function checked(secret: string, place: string): FoundSecret {
  if (secret === "") return { mistake: `${place} is empty` };
  if (secret.length > longest) return { mistake: `${place} has more than ${longest} characters` };
  return { secret };
}
