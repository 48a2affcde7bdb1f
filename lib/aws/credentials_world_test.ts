import assert from "node:assert/strict";
import { CredentialsFailure } from "./credentials.ts";
import { processWorld } from "./credentials_world.ts";

Deno.test("processWorld refuses a variable that the process may not read, and names it", () => {
  assert.throws(
    () => processWorld.env("AWS_ACCESS_KEY_ID"),
    (error) =>
      error instanceof CredentialsFailure && error.code === "credentials_refused" &&
      /AWS_ACCESS_KEY_ID may not be read/.test(error.message),
  );
});
