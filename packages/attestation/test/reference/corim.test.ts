import { encodeCanonical, sha256, sha384, toHex, utf8 } from "@cloister/core";
import { encode, Tag } from "cbor2";
import { describe, expect, test } from "vitest";
import { dcapMeasurement, importCorim, measurementOfCorim, snpMeasurement } from "../../src/index.ts";
import { forgedKey } from "../forger/keys.ts";

const NOW_MS = Date.UTC(2026, 5, 1);
const launchDigest = sha384(utf8("launch digest"));

type Values = Map<number, unknown>;

function corim(
  measurements: readonly unknown[],
  more: readonly (readonly [number, unknown])[] = [],
): Uint8Array {
  const kind = new Map<number, unknown>([
    [1, "AMD"],
    [2, "Genoa"],
  ]);
  const environment = new Map([[0, kind]]);
  const comid = new Map<number, unknown>([
    [1, new Map([[0, "tag"]])],
    [4, new Map([[0, [[environment, measurements]]]])],
  ]);
  const map = new Map<number, unknown>([[0, "corim"], [1, [new Tag(506, encode(comid))]], ...more]);
  return encode(new Tag(501, map));
}

function measurement(values: Values, key?: unknown): Map<number, unknown> {
  return new Map<number, unknown>([...(key === undefined ? [] : [[0, key] as const]), [1, values]]);
}

const digestValues: Values = new Map([[2, [[7, launchDigest]]]]);

describe("CoRIM", () => {
  test("gives an SEV-SNP launch digest the name that claims use", () => {
    const [reference] = importCorim(corim([measurement(digestValues)]), { nowMs: NOW_MS });
    expect(reference).toMatchObject({ vendor: "AMD", model: "Genoa" });
    expect(reference && measurementOfCorim("sev-snp", reference)).toBe(snpMeasurement(launchDigest));
  });

  test("takes the launch digest from among a report's other digests, and no other for it", () => {
    const other: Values = new Map([[2, [[7, sha384(utf8("a key's digest"))]]]]);
    const [whole] = importCorim(corim([measurement(other, 643), measurement(digestValues, 641)]), {
      nowMs: NOW_MS,
    });
    expect(whole && measurementOfCorim("sev-snp", whole)).toBe(snpMeasurement(launchDigest));
    const [without] = importCorim(corim([measurement(other, 643)]), { nowMs: NOW_MS });
    expect(without && measurementOfCorim("sev-snp", without)).toBeUndefined();
    const [twice] = importCorim(corim([measurement(other, 641), measurement(digestValues, 641)]), {
      nowMs: NOW_MS,
    });
    expect(twice && measurementOfCorim("sev-snp", twice)).toBeUndefined();
  });

  test("gives TDX registers the name that claims use, and none when one is missing", () => {
    const names = ["mrTd", "rtmr0", "rtmr1", "rtmr2", "rtmr3", "mrConfigId", "mrOwner", "mrOwnerConfig"];
    const registers = names.map((name) => measurement(new Map([[2, [[7, sha384(utf8(name))]]]]), name));
    const [whole] = importCorim(corim(registers), { nowMs: NOW_MS });
    const expected = dcapMeasurement(
      "tdx",
      Object.fromEntries(names.map((name) => [name, toHex(sha384(utf8(name)))])),
    );
    expect(whole && measurementOfCorim("tdx", whole)).toBe(expected);
    const [partial] = importCorim(corim(registers.slice(1)), { nowMs: NOW_MS });
    expect(partial && measurementOfCorim("tdx", partial)).toBeUndefined();
  });

  test("reads integrity registers, versions and SVNs", () => {
    const values: Values = new Map<number, unknown>([
      [0, new Map([[0, "1.2.3"]])],
      [1, new Tag(552, 4)],
      [14, new Map([[3, [[1, sha256(utf8("x"))]]]])],
    ]);
    const [reference] = importCorim(corim([measurement(values, "firmware")]), { nowMs: NOW_MS });
    expect(reference?.measurements).toEqual([
      { key: "3", digests: [{ algorithm: "sha-256", hex: toHex(sha256(utf8("x"))) }] },
    ]);
  });

  test("that lists a debug build is refused", () => {
    const debug: Values = new Map<number, unknown>([...digestValues, [3, new Map([[3, true]])]]);
    expect(() => importCorim(corim([measurement(debug)]), { nowMs: NOW_MS })).toThrow(
      expect.objectContaining({ code: "CORIM_DEBUG" }),
    );
  });

  test("that ran out or has not begun is refused", () => {
    const validity = (from: number, to: number): [number, unknown][] => [
      [
        4,
        new Map([
          [0, new Tag(1, from)],
          [1, new Tag(1, to)],
        ]),
      ],
    ];
    const seconds = NOW_MS / 1000;
    const judge = (from: number, to: number) => () =>
      importCorim(corim([measurement(digestValues)], validity(from, to)), { nowMs: NOW_MS });
    expect(judge(seconds - 9, seconds + 9)).not.toThrow();
    expect(judge(seconds - 9, seconds - 1)).toThrow(expect.objectContaining({ code: "CORIM_EXPIRED" }));
    expect(judge(seconds + 1, seconds + 9)).toThrow(expect.objectContaining({ code: "CORIM_EXPIRED" }));
  });

  test("is held against its signer's key when one is given", () => {
    const key = forgedKey("CoRIM signer");
    const payload = corim([measurement(digestValues)]);
    const header = encodeCanonical(new Map([[1, -7]]));
    const signature = key.sign(encodeCanonical(["Signature1", header, new Uint8Array(), payload]));
    const signed = encode(new Tag(18, [header, new Map(), payload, signature]));
    expect(importCorim(signed, { signer: key.publicKey, nowMs: NOW_MS })).toHaveLength(1);
    const stranger = forgedKey("a stranger").publicKey;
    const invalid = expect.objectContaining({ code: "CORIM_SIGNATURE_INVALID" });
    expect(() => importCorim(signed, { signer: stranger, nowMs: NOW_MS })).toThrow(invalid);
    expect(() => importCorim(payload, { signer: key.publicKey, nowMs: NOW_MS })).toThrow(invalid);
  });

  const malformed: [string, Uint8Array][] = [
    ["nothing", new Uint8Array()],
    ["text", utf8("not a CoRIM")],
    ["another tag", encode(new Tag(777, new Map()))],
    ["no tags", encode(new Tag(501, new Map([[0, "x"]])))],
    ["a digest of an unknown algorithm", corim([measurement(new Map([[2, [[99, launchDigest]]]]))])],
    ["a measurement that is no map", corim([1])],
  ];
  test.each(malformed)("of %s is malformed", (_, bytes) => {
    expect(() => importCorim(bytes, { nowMs: NOW_MS })).toThrow(
      expect.objectContaining({ code: "CORIM_MALFORMED" }),
    );
  });
});
