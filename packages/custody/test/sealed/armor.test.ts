import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { armor, collect, generateIdentity, open, parseHeader, unarmor } from "../../src/index.ts";
import { entropy } from "../release/group.ts";

const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes);
const utf8 = (string: string) => new TextEncoder().encode(string);
const BYTES = entropy(100);
const ARMORED = text(await collect(armor([BYTES])));

async function outcome(input: string | Uint8Array): Promise<string> {
  try {
    const bytes = await collect(unarmor([typeof input === "string" ? utf8(input) : input]));
    return Buffer.from(bytes).equals(BYTES) ? "same" : "other";
  } catch (failure) {
    return (failure as { code: string }).code;
  }
}

test("what is armored comes back, in pieces of any size", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.uint8Array({ maxLength: 500 }),
      fc.integer({ min: 1, max: 200 }),
      async (bytes, size) => {
        const armored = await collect(armor([bytes.subarray(0, 50), bytes.subarray(50)]));
        const pieces = Array.from({ length: Math.ceil(armored.length / size) }, (_, i) =>
          armored.subarray(i * size, (i + 1) * size),
        );
        expect(await collect(unarmor(pieces))).toEqual(bytes);
        for (const line of text(armored).split("\n")) expect(line.length).toBeLessThanOrEqual(64);
      },
    ),
  );
});

test.each([
  ["with Windows line ends", ARMORED.replaceAll("\n", "\r\n")],
  ["between blank lines", `\n \r\n${ARMORED}\n\n`],
  ["without its last line end", ARMORED.slice(0, -1)],
])("armor is read %s", async (_, input) => {
  expect(await outcome(input)).toBe("same");
});

test("what is not armored passes", async () => {
  const sealed = utf8("age-encryption.org/v1\n");
  expect(await collect(unarmor([sealed.subarray(0, 3), sealed.subarray(3)]))).toEqual(sealed);
});

describe("armor is refused", () => {
  test.each([
    ["of another kind", ARMORED.replaceAll("AGE ENCRYPTED FILE", "PRIVATE KEY")],
    ["in lower case", ARMORED.replace("BEGIN", "begin")],
    ["without its end", ARMORED.slice(0, ARMORED.indexOf("-----END"))],
    ["with something behind its end", `${ARMORED}more`],
    ["with headers", ARMORED.replace("-----\n", "-----\nVersion: 1\n\n")],
    ["with a blank line in it", ARMORED.replace(/\n(?=[A-Za-z0-9+/]{10})/, "\n\n")],
    ["with a space at a line's end", ARMORED.replace(/([A-Za-z0-9+/]{64})\n/, "$1 \n")],
    ["without padding", ARMORED.replace(/=+\n/, "\n")],
    ["with a long line", ARMORED.replace(/([A-Za-z0-9+/]{64})\n/, "$1")],
    ["with a short line in the middle", ARMORED.replace(/\n([A-Za-z0-9+/]{60})/, "\n$1\n")],
    ["with a foreign character", ARMORED.replace(/\n[A-Za-z0-9+/]/, "\n*")],
    ["after too many blanks", `${" ".repeat(2000)}${ARMORED}`],
    ["before too many blanks", `${ARMORED}${"\n".repeat(2000)}`],
  ])("%s", async (_, input) => {
    expect(await outcome(input)).toBe("SEALED_ARMOR_MALFORMED");
  });
});

test("no bytes make a reader throw anything but its codes", async () => {
  const identity = generateIdentity(entropy);
  const begun = fc.constantFrom(
    "",
    "age-encryption.org/v1\n",
    "age-encryption.org/v1\n-> X25519 ",
    "-----BEGIN AGE ENCRYPTED FILE-----\n",
  );
  await fc.assert(
    fc.asyncProperty(begun, fc.uint8Array({ maxLength: 200 }), async (start, rest) => {
      const bytes = new Uint8Array([...utf8(start), ...rest]);
      const code = expect.objectContaining({ code: expect.stringMatching(/^SEALED_/) });
      expect(() => parseHeader(bytes)).toThrow(code);
      await expect(async () => collect(await open(unarmor([bytes]), [identity]))).rejects.toEqual(code);
    }),
    { numRuns: 300 },
  );
});
