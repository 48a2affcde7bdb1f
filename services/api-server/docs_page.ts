import type { ApiDocument } from "./openapi.ts";

/** The page's style sheet. */
export const docsStyle =
  `body { font: 16px/1.5 system-ui, sans-serif; margin: 0 auto; max-width: 60rem; padding: 1rem }
h2 { border-bottom: 1px solid; margin-top: 3rem }
details { border: 1px solid; border-radius: .3rem; margin: .5rem 0; padding: .3rem .8rem }
summary { cursor: pointer }
code, pre { font: 14px/1.4 ui-monospace, monospace }
pre { overflow-x: auto }
b { display: inline-block; min-width: 4.5rem; text-transform: uppercase }
`;

interface DocumentedOperation {
  readonly summary?: string;
  readonly description?: string;
  readonly tags?: readonly string[];
  readonly parameters?: readonly unknown[];
  readonly requestBody?: unknown;
  readonly responses?: Readonly<
    Record<string, { readonly description?: string; readonly content?: unknown }>
  >;
  readonly "x-action"?: string;
}

/** A page that shows the document as it is, without a script. */
export function docsPage(document: ApiDocument): string {
  const byTag = new Map<string, string[]>();
  for (const [path, item] of Object.entries(document.paths ?? {})) {
    for (const [method, operation] of Object.entries(item as Record<string, DocumentedOperation>)) {
      const tag = operation.tags?.[0] ?? "other";
      byTag.set(tag, [...byTag.get(tag) ?? [], operationHtml(method, path, operation)]);
    }
  }
  const sections = [...byTag].map(([tag, parts]) => `<h2>${escape(tag)}</h2>\n${parts.join("\n")}`);
  return `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>${escape(document.info.title)} API</title>
<link rel="stylesheet" href="/docs/style.css"></head><body>
<h1>${escape(document.info.title)} API ${escape(document.info.version)}</h1>
<p>${escape(document.info.description ?? "")}</p>
<p>For programs: <a href="/openapi.json">openapi.json</a> (OpenAPI 3.1).</p>
${sections.join("\n")}
</body></html>
`;
}

function operationHtml(method: string, path: string, operation: DocumentedOperation): string {
  const answers = Object.entries(operation.responses ?? {}).map(([status, { description = "", content }]) => {
    const shape = Number(status) < 300 && content !== undefined ? json(content) : "";
    return `<p><code>${escape(status)}</code> ${escape(description)}</p>${shape}`;
  });
  return `<details><summary><b>${escape(method)}</b> <code>${escape(path)}</code> ${
    escape(operation.summary ?? "")
  }</summary>
<p>${escape(operation.description ?? "")}</p>
<p>Permission: <code>${escape(operation["x-action"] ?? "public")}</code></p>
${operation.parameters === undefined ? "" : `<h4>Parameters</h4>${json(operation.parameters)}`}
${operation.requestBody === undefined ? "" : `<h4>Request</h4>${json(operation.requestBody)}`}
<h4>Answers</h4>${answers.join("\n")}</details>`;
}

function json(value: unknown): string {
  return `<pre>${escape(JSON.stringify(value, null, 2))}</pre>`;
}

function escape(text: string): string {
  return text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;").replaceAll(
    '"',
    "&quot;",
  );
}
