import assert from "node:assert/strict";
import { parseArguments } from "./arguments.ts";
import { programs } from "./programs.ts";

Deno.test("parseArguments() promises every program for this machine when nothing is named", () => {
  assert.deepEqual(parseArguments([]), {
    verb: "build",
    programs,
    targets: [],
    read: [],
    write: [],
    net: [],
  });
});

Deno.test("parseArguments() promises programs, targets and paths as they are named", () => {
  const args = [
    "seed",
    "--target=aarch64-apple-darwin",
    "--read",
    "/srv/tls",
    "--write",
    "/srv/mail",
    "--net=db.internal:5432",
    "--net",
    "[::]:587",
    "seal",
  ];
  assert.deepEqual(parseArguments(args), {
    verb: "build",
    programs: ["seed", "seal"],
    targets: ["aarch64-apple-darwin"],
    read: ["/srv/tls"],
    write: ["/srv/mail"],
    net: ["db.internal:5432", "[::]:587"],
  });
});

Deno.test("parseArguments() promises a sentence for what makes no sense", () => {
  assert.throws(() => parseArguments(["dev"]), /expected a program .*current value is "dev"/);
  assert.throws(() => parseArguments(["--target", "pdp11"]), /expected a target .*current value is "pdp11"/);
  for (const address of ["", "a,b", "http://x", "x:port"]) {
    assert.throws(() => parseArguments(["--net", address]), /expected HOST or HOST:PORT/);
  }
  for (const path of ["relative", "", "/a,/b"]) {
    assert.throws(() => parseArguments(["--read", path]), /expected an absolute path without commas/);
  }
});
