import { parseDocument } from "yaml";

/** What a file says, or why it says nothing: problems with line and column. */
export type ParsedFile = { readonly content: unknown; readonly problems: readonly string[] };

/** Reads YAML 1.2; aliases are bounded, keys that are there twice are a problem. */
export function parseYaml(text: string): ParsedFile {
  const document = parseDocument(text, { prettyErrors: true });
  const problems = document.errors.map((error) => error.message.split("\n")[0] ?? "");
  return problems.length > 0
    ? { content: undefined, problems }
    : { content: document.toJS() as unknown, problems };
}
