import assert from "node:assert/strict";
import { smuggling } from "../../tests/support/smuggling.ts";
import { LineGuard } from "./line_guard.ts";

function bytes(text: string): Uint8Array {
  return Uint8Array.from(text, (character) => character.charCodeAt(0));
}

interface Read {
  readonly content: string;
  readonly rest: string | undefined;
  readonly flaws: number;
}

/** Feeds the wire bytes cut at the given positions. */
function read(wire: string, cuts: readonly number[] = [], mode: "refuse" | "repair" = "refuse"): Read {
  const guard = new LineGuard(mode);
  let content = "";
  const edges = [0, ...cuts, wire.length];
  for (let part = 0; part + 1 < edges.length; part++) {
    const chunk = bytes(wire.slice(edges[part], edges[part + 1]));
    const taken = guard.take(chunk, 0);
    content += String.fromCharCode(...taken.content);
    if (taken.next >= 0) {
      return { content, rest: wire.slice((edges[part] ?? 0) + taken.next), flaws: guard.flaws };
    }
  }
  return { content, rest: undefined, flaws: guard.flaws };
}

Deno.test("LineGuard finds the end mark and un-stuffs dots wherever the chunks are cut", () => {
  const wire = "..a\r\n.b\r\n\r\n...\r\nc.\r\n.\r\nNOOP\r\n";
  const whole = { content: ".a\r\nb\r\n\r\n..\r\nc.\r\n", rest: "NOOP\r\n", flaws: 0 };
  assert.deepEqual(read(wire), whole);
  for (let first = 0; first <= wire.length; first++) {
    for (let second = first; second <= wire.length; second++) {
      assert.deepEqual(read(wire, [first, second]), whole, `cut at ${first} and ${second}`);
    }
  }
  assert.deepEqual(read(wire, Array.from(wire, (_, index) => index)), whole);
});

Deno.test("LineGuard ends an empty message at once", () => {
  assert.deepEqual(read(".\r\nQUIT\r\n"), { content: "", rest: "QUIT\r\n", flaws: 0 });
});

Deno.test("LineGuard takes no smuggling sequence for the end, and counts each as a flaw, at every cut", () => {
  for (const sequence of smuggling.filter((one) => !one.includes("\r\r\n.\r\n"))) {
    const wire = `a${sequence}MAIL FROM:<x@y>\r\n.\r\n`;
    for (let cut = 0; cut <= wire.length; cut++) {
      const { rest, flaws } = read(wire, [cut]);
      assert.equal(rest, "", `${JSON.stringify(sequence)} cut at ${cut}`);
      assert.ok(flaws > 0, JSON.stringify(sequence));
    }
  }
});

Deno.test("LineGuard takes CR CR LF . CR LF for an end, flawed", () => {
  const { rest, flaws } = read("a\r\r\n.\r\nNOOP\r\n");
  assert.equal(rest, "NOOP\r\n");
  assert.equal(flaws, 1);
});

Deno.test("LineGuard repairs bare line endings and leaves everything else", () => {
  const wire = "a\nb\rc\r\n..d\r\r\n\n.\r\n.\r\n";
  const repaired = "a\r\nb\r\nc\r\n.d\r\n\r\n\r\n.\r\n";
  for (let cut = 0; cut <= wire.length; cut++) {
    const { content, rest } = read(wire, [cut], "repair");
    assert.equal(content, repaired, `cut at ${cut}`);
    assert.equal(rest, "");
  }
});

Deno.test("LineGuard cannot repair a dot beside NUL, at every cut", () => {
  for (const sequence of ["\r\n\0.\r\n", "\n\0.\n", "\r\0\0.\r", "\r\n.\0.\r\n", "\r\n.\0\r\n"]) {
    const wire = `a${sequence}b\r\n.\r\n`;
    for (let cut = 0; cut <= wire.length; cut++) {
      const { rest, flaws } = read(wire, [cut], "repair");
      assert.deepEqual([rest, flaws > 0], ["", true], `${JSON.stringify(wire)} cut at ${cut}`);
    }
  }
  for (const plain of ["a\0.\nb\0.", "\n\0a.\n", "\n\0\n.\n"]) {
    assert.equal(read(`a${plain}\r\n.\r\n`, [], "repair").flaws, 0, JSON.stringify(plain));
  }
});

Deno.test("LineGuard gives back binary content byte for byte", () => {
  const all = Array.from({ length: 256 }, (_, byte) => byte).filter((byte) => byte !== 10 && byte !== 13);
  const text = String.fromCharCode(...all);
  assert.deepEqual(read(`${text}\r\n.\r\n`), { content: `${text}\r\n`, rest: "", flaws: 0 });
});

Deno.test("LineGuard agrees with the grammar, wherever a chunk lies in memory and whatever its lines are like", () => {
  const random = seeded(7);
  const rare = "\r\n.\0\t\r\n\x80Ö";
  for (let round = 0; round < 20_000; round++) {
    const text = Array.from({ length: random(90) }, () => random(3) === 0 ? rare[random(rare.length)] : "x");
    const wire = `${text.join("")}\r\n.\r\n`;
    const message = wire.slice(0, wire.search(/(?<=^|\r\n)\.\r\n/));
    const offset = random(4);
    const memory = new Uint8Array(offset + wire.length + 8).fill(10);
    memory.set(bytes(wire), offset);
    const guard = new LineGuard("refuse");
    const { content, next } = guard.take(memory.subarray(offset, offset + wire.length), 0);
    assert.equal(next, message.length + 3, JSON.stringify(wire));
    const isFlawed = /\r(?!\n)|(?<!\r)\n|(?<=^|\r\n)(\.\0|\0+\.)/.test(message);
    assert.equal(guard.flaws > 0, isFlawed, JSON.stringify(wire));
    if (!isFlawed) {
      assert.equal(
        String.fromCharCode(...content),
        message.replaceAll(/(?<=^|\r\n)\./g, ""),
        JSON.stringify(wire),
      );
    }
  }
});

/** Whole numbers below a bound, the same in every run. */
function seeded(seed: number): (bound: number) => number {
  let state = seed;
  return (bound) => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return Math.floor(state / 2 ** 32 * bound);
  };
}
