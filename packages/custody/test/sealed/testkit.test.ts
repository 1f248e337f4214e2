import { createHash } from "node:crypto";
import { inflateSync } from "node:zlib";
import { codeOf } from "@cloister/core";
import * as exported from "cctv-age";
import { describe, expect, test } from "vitest";
import { open, parseIdentity, passphraseIdentity, unarmor, type Identity } from "../../src/index.ts";

/** The codes that may stand for each of the kit's outcomes. */
const CODES: Readonly<Record<string, readonly string[]>> = {
  success: ["success"],
  "no match": ["SEALED_NO_IDENTITY_MATCHES", "SEALED_PASSPHRASE_WRONG"],
  "HMAC failure": ["SEALED_HEADER_MAC_WRONG"],
  "header failure": [
    "SEALED_NOT_AGE",
    "SEALED_HEADER_MALFORMED",
    "SEALED_STANZA_MALFORMED",
    "SEALED_WORK_FACTOR_TOO_LARGE",
    "SEALED_TRUNCATED",
  ],
  "payload failure": [
    "SEALED_TRUNCATED",
    "SEALED_TRAILING_BYTES",
    "SEALED_CHUNK_FORGED",
    "SEALED_CHUNK_EMPTY",
  ],
  "armor failure": ["SEALED_ARMOR_MALFORMED", "SEALED_NOT_AGE"],
};

const kit = exported as Readonly<Record<string, Uint8Array>>;

interface KitCase {
  readonly expect: string;
  readonly payload: string | undefined;
  readonly identities: Identity[];
  readonly armored: boolean;
  readonly bytes: Uint8Array;
}

function readCase(vector: Uint8Array): KitCase {
  const text = Buffer.from(vector).toString("latin1");
  const end = text.indexOf("\n\n");
  const fields = text
    .slice(0, end)
    .split("\n")
    .map((line) => line.split(": ") as [string, string]);
  const all = (name: string) => fields.filter(([key]) => key === name).map(([, value]) => value);
  const body = vector.slice(end + 2);
  return {
    expect: all("expect")[0] as string,
    payload: all("payload")[0],
    identities: [
      ...all("identity").map((identity) => parseIdentity(identity)),
      ...all("passphrase").map((passphrase) => passphraseIdentity(passphrase)),
    ],
    armored: all("armored").length > 0,
    bytes: all("compressed").length > 0 ? new Uint8Array(inflateSync(body)) : body,
  };
}

describe("the public age test kit", () => {
  const names = Object.keys(kit).filter((name) => kit[name] instanceof Uint8Array);
  test("is whole", () => {
    expect(names.length).toBeGreaterThan(100);
  });

  test.each(names)("%s", async (name) => {
    const vector = readCase(kit[name] as Uint8Array);
    const hash = createHash("sha256");
    let outcome = "success";
    try {
      const source = vector.armored ? unarmor([vector.bytes]) : [vector.bytes];
      for await (const piece of await open(source, vector.identities)) hash.update(piece);
    } catch (thrown) {
      outcome = codeOf(thrown);
    }
    expect(CODES[vector.expect]).toContain(outcome);
    const releases = vector.expect === "success" || vector.expect === "payload failure";
    if (releases && vector.payload !== undefined) expect(hash.digest("hex")).toBe(vector.payload);
  });
});
