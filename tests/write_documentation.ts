/** Writes the tables of the documentation from the code: `deno task docs`. */
import { generated } from "./support/documentation.ts";

for (const [path, write] of Object.entries(generated)) {
  const text = await Deno.readTextFile(path);
  const written = write(text);
  if (written !== text) await Deno.writeTextFile(path, written);
}
