import { spawnSync } from "node:child_process";
import { toHex, utf8, fromUtf8 } from "@cloister/core";
import fc from "fast-check";
import { expect, test } from "vitest";
import { isEngineFileName, packTar, unpackTar } from "../src/index.ts";

const names = fc.stringMatching(/^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/);
const files = fc.uniqueArray(fc.record({ name: names, bytes: fc.uint8Array({ maxLength: 2000 }) }), {
  selector: ({ name }) => name,
  maxLength: 8,
});

test("what was packed is unpacked, in whatever order it was given", () => {
  fc.assert(
    fc.property(files, (given) => {
      const archive = packTar(given);
      expect(toHex(packTar(given.toReversed()))).toBe(toHex(archive));
      const sorted = given.toSorted((a, b) => (a.name < b.name ? -1 : 1));
      expect(unpackTar(archive)).toEqual(sorted.map(({ name, bytes }) => ({ name, bytes })));
    }),
  );
});

test("the system's tar unpacks it", (ctx) => {
  if (spawnSync("tar", ["--version"]).status !== 0) ctx.skip("There is no tar on this machine.");
  const archive = packTar([
    { name: "b.json", bytes: utf8("{}") },
    { name: "a.json", bytes: utf8("[1]") },
  ]);
  const listed = spawnSync("tar", ["--list", "--verbose", "--numeric-owner", "--utc", "--file", "-"], {
    input: archive,
  });
  expect(listed.stdout.toString()).toMatch(
    /^-rw-r--r-- 0\/0 +3 1970-01-01 00:00 a\.json\n-rw-r--r-- 0\/0 +2 1970-01-01 00:00 b\.json\n$/,
  );
  const read = spawnSync("tar", ["--extract", "--to-stdout", "--file", "-", "a.json"], { input: archive });
  expect(fromUtf8(new Uint8Array(read.stdout))).toBe("[1]");
});

test("every single changed byte outside of the contents is refused", () => {
  const archive = packTar([{ name: "a", bytes: utf8("abc") }]);
  const refused = Array.from(archive, (_, at) => {
    const changed = archive.slice();
    changed[at] = (changed[at] as number) ^ 1;
    try {
      return unpackTar(changed)[0]?.name !== "a";
    } catch (error) {
      return (error as { code?: string }).code === "RESULT_MALFORMED";
    }
  });
  // The content (3 bytes) and its padding, which tar ignores, may change.
  expect(refused.filter((was) => !was)).toHaveLength(512);
});

test.each([
  ["nothing", new Uint8Array()],
  ["a cut archive", packTar([{ name: "a", bytes: utf8("abc") }]).subarray(0, 600)],
  ["an archive with something after it", new Uint8Array([...packTar([]), 1])],
  ["text", utf8("no archive at all".repeat(100))],
])("%s is refused with RESULT_MALFORMED", (_what, bytes) => {
  expect(() => unpackTar(bytes)).toThrow(expect.objectContaining({ code: "RESULT_MALFORMED" }));
});

test.each(["", ".", "..", ".hidden", "a/b", "a\\b", "ä", "a b", "-rf", "x".repeat(65)])(
  "%j is no engine file's name",
  (name) => {
    expect(isEngineFileName(name)).toBe(false);
  },
);
