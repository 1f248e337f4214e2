import { concat, ed25519PublicKey, ed25519Signer, fromUtf8, sha256, utf8 } from "@cloister/core";
import { expect, test } from "vitest";
import {
  checkpointBody,
  cosignatureTime,
  cosignCheckpoint,
  parseCheckpoint,
  signCheckpoint,
  verifyCheckpoint,
  withCosignaturesOf,
  type NoteKey,
} from "../../src/index.ts";

const seed = sha256(utf8("log"));
const log: NoteKey = { name: "log.example/31337", key: ed25519PublicKey(seed) };
const witnessSeed = sha256(utf8("witness"));
const witness: NoteKey = { name: "witness.example/w1", key: ed25519PublicKey(witnessSeed) };
const checkpoint = { origin: log.name, size: 7, root: sha256(utf8("root")) };
const note = signCheckpoint(checkpoint, log, ed25519Signer(seed));
const cosigned = cosignCheckpoint(note, witness, 1_700_000_000_500, ed25519Signer(witnessSeed));

test("a checkpoint reads as origin, size, root and a signature line", () => {
  const lines = fromUtf8(note).split("\n");
  expect(lines.slice(0, 2)).toEqual(["log.example/31337", "7"]);
  expect(lines[3]).toBe("");
  expect(lines[4]).toMatch(/^— log\.example\/31337 [A-Za-z0-9+/]+={0,2}$/);
  expect(parseCheckpoint(note).checkpoint).toEqual(checkpoint);
});

test("the key id is the one of C2SP signed-note", () => {
  const id = sha256(concat(utf8(`${log.name}\n`), new Uint8Array([1]), log.key)).subarray(0, 4);
  expect(parseCheckpoint(note).signatures[0]?.keyId).toEqual(id);
});

test("the log's own signature is found among others, and no one else's counts as it", () => {
  expect(verifyCheckpoint(parseCheckpoint(note), log)).toBe(true);
  expect(verifyCheckpoint(parseCheckpoint(cosigned), log)).toBe(true);
  expect(verifyCheckpoint(parseCheckpoint(note), { ...log, name: "other" })).toBe(false);
  expect(verifyCheckpoint(parseCheckpoint(note), { ...log, key: witness.key })).toBe(false);
});

test("a witness's signature says when it saw the checkpoint", () => {
  expect(cosignatureTime(parseCheckpoint(cosigned), witness)).toBe(1_700_000_000_000);
  expect(cosignatureTime(parseCheckpoint(note), witness)).toBeUndefined();
  expect(cosignatureTime(parseCheckpoint(cosigned), { ...witness, key: log.key })).toBeUndefined();
});

test("what known witnesses added stays, once each, and everything else can be taken away", () => {
  const sign = ed25519Signer(witnessSeed);
  const later = cosignCheckpoint(cosigned, witness, 1_700_000_009_000, sign);
  const stranger = cosignCheckpoint(cosigned, { ...witness, name: "x" }, 1_700_000_000_500, sign);
  expect(withCosignaturesOf(later, [witness])).toEqual(cosigned);
  expect(withCosignaturesOf(stranger, [witness])).toEqual(cosigned);
  expect(withCosignaturesOf(cosigned, [{ ...witness, key: log.key }])).toEqual(note);
  for (const one of [cosigned, stranger, note]) expect(withCosignaturesOf(one, [])).toEqual(note);
  expect(() => withCosignaturesOf(utf8("x"), [])).toThrow(
    expect.objectContaining({ code: "CHECKPOINT_MALFORMED" }),
  );
});

test("a note with any changed byte does not verify", () => {
  for (let at = 0; at < cosigned.length; at++) {
    const changed = cosigned.slice();
    changed[at] = (changed[at] as number) ^ 1;
    expect(accepted(changed)).toBe(false);
  }
});

function accepted(bytes: Uint8Array): boolean {
  try {
    const signed = parseCheckpoint(bytes);
    return verifyCheckpoint(signed, log) && cosignatureTime(signed, witness) !== undefined;
  } catch (error) {
    expect(error).toMatchObject({ code: "CHECKPOINT_MALFORMED" });
    return false;
  }
}

const text = fromUtf8(note);
test.each([
  ["no signature", text.slice(0, text.indexOf("\n\n") + 2)],
  ["an unfinished last line", text.slice(0, -1)],
  ["a size with a leading zero", text.replace("\n7\n", "\n07\n")],
  ["a size beyond counting", text.replace("\n7\n", "\n9999999999999999\n")],
  ["a fourth line", text.replace("\n\n", "\nmore\n\n")],
  ["a root of another length", text.replace(/\n7\n.*\n\n/, "\n7\nAAAA\n\n")],
  ["base64 whose unused bits are set", text.replace(/.=\n\n/, "F=\n\n")],
  ["an origin with a space", text.replace("log.example/31337\n", "log example\n")],
  ["more than it may be", `${text}${"— a AAAAAAAA\n".repeat(2000)}`],
  ["too many signatures", `${text}${"— a AAAAAAAA\n".repeat(16)}`],
])("a note with %s is refused", (_, malformed) => {
  expect(() => parseCheckpoint(utf8(malformed))).toThrow(
    expect.objectContaining({ code: "CHECKPOINT_MALFORMED" }),
  );
});

test("bytes that are not UTF-8 are refused", () => {
  expect(() => parseCheckpoint(new Uint8Array([0xff, 10, 10]))).toThrow(
    expect.objectContaining({ code: "CHECKPOINT_MALFORMED" }),
  );
});

test.each([
  ["origin", { ...checkpoint, origin: "a b" }],
  ["size", { ...checkpoint, size: -1 }],
  ["root", { ...checkpoint, root: new Uint8Array(31) }],
])("a checkpoint with a wrong %s is not written", (_, wrong) => {
  expect(() => checkpointBody(wrong)).toThrow(expect.objectContaining({ code: "CHECKPOINT_MALFORMED" }));
});

test("a signer's name with a space is not written", () => {
  const sign = ed25519Signer(witnessSeed);
  expect(() => cosignCheckpoint(note, { ...witness, name: "a b" }, 0, sign)).toThrow(
    expect.objectContaining({ code: "CHECKPOINT_MALFORMED" }),
  );
});
