import fc from "fast-check";
import { expect, test } from "vitest";
import {
  concat,
  ed25519PublicKey,
  ed25519Signer,
  encodeCanonical,
  fromHex,
  openSign1,
  signSign1,
  utf8,
  verifySign1,
} from "../src/index.ts";

const seed = fromHex("11".repeat(32));
const publicKey = ed25519PublicKey(seed);
const KIND = "application/vnd.cloister.sample+cbor";

function signed(payload: Uint8Array = utf8("payload"), contentType = KIND): Uint8Array {
  return signSign1({ contentType, kid: publicKey, payload, sign: ed25519Signer(seed) });
}

test("what was signed opens and verifies", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 100 }), (payload) => {
      const statement = openSign1(signed(payload));
      expect(statement.payload).toEqual(payload);
      expect(statement.kid).toEqual(publicKey);
      expect(verifySign1(statement, publicKey, KIND)).toBe(true);
    }),
    { numRuns: 30 },
  );
});

test("the signed bytes are the Sig_structure of RFC 9052 §4.4", () => {
  const header = encodeCanonical(
    new Map<number, unknown>([
      [1, -8],
      [3, KIND],
      [4, publicKey],
    ]),
  );
  const expected = concat(
    fromHex("846a5369676e617475726531"),
    encodeCanonical(header),
    fromHex("40"),
    encodeCanonical(utf8("payload")),
  );
  expect(openSign1(signed()).signed).toEqual(expected);
});

test("a statement of one kind is never one of another", () => {
  expect(verifySign1(openSign1(signed()), publicKey, "application/vnd.cloister.other+cbor")).toBe(false);
});

test("another key does not verify it", () => {
  expect(verifySign1(openSign1(signed()), ed25519PublicKey(fromHex("22".repeat(32))), KIND)).toBe(false);
});

test("no changed byte survives", () => {
  const bytes = signed();
  for (let at = 0; at < bytes.length; at++) {
    const changed = Uint8Array.from(bytes);
    changed[at] = (changed[at] as number) ^ 1;
    let accepted = false;
    try {
      const statement = openSign1(changed);
      accepted = verifySign1(statement, publicKey, KIND);
    } catch (error) {
      expect(error).toHaveProperty("code", expect.stringMatching(/^(COSE|CBOR)_/));
    }
    expect(accepted, `byte ${at}`).toBe(false);
  }
});

const header = (fields: [number, unknown][]): Uint8Array => encodeCanonical(new Map(fields));
const whole: [number, unknown][] = [
  [1, -8],
  [3, KIND],
  [4, publicKey],
];

test.each<[string, unknown]>([
  ["not an array", { a: 1 }],
  ["three parts", [header(whole), {}, utf8("p")]],
  ["five parts", [header(whole), {}, utf8("p"), new Uint8Array(64), 1]],
  ["a text payload", [header(whole), {}, "p", new Uint8Array(64)]],
  ["a filled unprotected header", [header(whole), new Map([[1, -8]]), utf8("p"), new Uint8Array(64)]],
  [
    "another algorithm",
    [
      header([
        [1, -7],
        [3, KIND],
        [4, publicKey],
      ]),
      {},
      utf8("p"),
      new Uint8Array(64),
    ],
  ],
  [
    "no key id",
    [
      header([
        [1, -8],
        [3, KIND],
      ]),
      {},
      utf8("p"),
      new Uint8Array(64),
    ],
  ],
  [
    "a text key id",
    [
      header([
        [1, -8],
        [3, KIND],
        [4, "k"],
      ]),
      {},
      utf8("p"),
      new Uint8Array(64),
    ],
  ],
  ["a further header field", [header([...whole, [5, 1]]), {}, utf8("p"), new Uint8Array(64)]],
])("%s is not a statement of ours", (_, document) => {
  expect(() => openSign1(encodeCanonical(document))).toThrow(
    expect.objectContaining({ code: "COSE_MALFORMED" }),
  );
});

test("bytes that are not CBOR are refused with the code of the encoding", () => {
  expect(() => openSign1(fromHex("ff"))).toThrow(expect.objectContaining({ code: "CBOR_MALFORMED" }));
});
