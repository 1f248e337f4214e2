import { fromHex } from "@cloister/core";
import { describe, expect, test } from "vitest";
import { CborTag, decodeCbor } from "../../src/evidence/cbor.ts";

describe("tokens' CBOR (RFC 8949 appendix A)", () => {
  test.each<[string, unknown]>([
    ["00", 0],
    ["1818", 24],
    ["190018", 24],
    ["1b000000e8d4a51000", 1_000_000_000_000],
    ["1bffffffffffffffff", 18_446_744_073_709_551_615n],
    ["20", -1],
    ["3903e7", -1000],
    ["3bffffffffffffffff", -18_446_744_073_709_551_616n],
    ["f4", false],
    ["f5", true],
    ["f6", null],
    ["f7", undefined],
    ["4401020304", new Uint8Array([1, 2, 3, 4])],
    ["5f42010243030405ff", new Uint8Array([1, 2, 3, 4, 5])],
    ["7f657374726561646d696e67ff", "streaming"],
    ["9f01820203ff", [1, [2, 3]]],
    [
      "a201020304",
      new Map([
        [1, 2],
        [3, 4],
      ]),
    ],
    [
      "bf6346756ef563416d7421ff",
      new Map<string, unknown>([
        ["Fun", true],
        ["Amt", -2],
      ]),
    ],
    ["d28101", new CborTag(18, [1])],
  ])("%s is read", (hex, value) => {
    expect(decodeCbor(fromHex(hex))).toEqual(value);
  });

  test.each([
    ["nothing", ""],
    ["a cut-off number", "18"],
    ["a cut-off string", "44010203"],
    ["something after the item", "0000"],
    ["a reserved length", "1c"],
    ["an indefinite number", "1f"],
    ["a lone break", "ff"],
    ["a break in a definite array", "81ff"],
    ["a chunk of another type", "5f6161ff"],
    ["a nested indefinite chunk", "5f5f4101ffff"],
    ["a key twice", "a201020103"],
    ["a key that is an array", "a18001"],
    ["a break for a value", "bf01ff"],
    ["a float", "f93c00"],
    ["an unassigned simple value", "e0"],
    ["text that is not UTF-8", "61ff"],
    ["an array that says it is huge", "9affffffff"],
    ["a map that says it is huge", "bb7fffffffffffffff"],
    ["nesting without end", "81".repeat(100)],
  ])("%s is refused", (_, hex) => {
    expect(() => decodeCbor(fromHex(hex))).toThrow(expect.objectContaining({ code: "CBOR_MALFORMED" }));
  });
});
