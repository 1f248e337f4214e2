import { digestOf } from "@cloister/core";
import { Decrypter, Encrypter } from "age-encryption";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  CHUNK_BYTES,
  collect,
  generateIdentity,
  hybridIdentity,
  layoutOf,
  open,
  openRange,
  openWithFileKey,
  parseHeader,
  parseRecipient,
  passphraseIdentity,
  passphraseRecipient,
  readSealed,
  seal,
  unwrapFileKey,
  type RangeSource,
} from "../../src/index.ts";
import { entropy } from "../release/group.ts";

const identity = generateIdentity(entropy);
const other = generateIdentity(entropy);
const SIZES = [0, 1, CHUNK_BYTES - 1, CHUNK_BYTES, CHUNK_BYTES + 1, 3 * CHUNK_BYTES, 3 * CHUNK_BYTES + 7];

async function sealOf(plaintext: Uint8Array): Promise<Uint8Array> {
  return collect(seal([plaintext], [identity.recipient], entropy));
}

function piecesOf(bytes: Uint8Array, size: number): Uint8Array[] {
  return Array.from({ length: Math.ceil(bytes.length / size) }, (_, i) =>
    bytes.subarray(i * size, (i + 1) * size),
  );
}

function sourceOf(bytes: Uint8Array): RangeSource & { bytesRead: number } {
  return {
    sizeBytes: bytes.length,
    bytesRead: 0,
    async *read(offset, length) {
      this.bytesRead += length;
      yield* piecesOf(bytes.slice(offset, offset + length), 10_007);
    },
  };
}

test.each(SIZES)("%i bytes come back, with the digests that sha256sum prints", async (size) => {
  const plaintext = entropy(size);
  const sealing = seal(piecesOf(plaintext, 50_000), [other.recipient, identity.recipient], entropy);
  expect(() => sealing.digests()).toThrow(expect.objectContaining({ code: "SEALED_NOT_FINISHED" }));
  const sealed = await collect(sealing);
  const flow = await open(piecesOf(sealed, 33_333), [identity]);
  expect(digestOf(await collect(flow))).toBe(digestOf(plaintext));
  const digests = {
    contentDigest: digestOf(plaintext),
    contentBytes: size,
    sealedDigest: digestOf(sealed),
    sealedBytes: sealed.length,
    headerDigest: digestOf(parseHeader(sealed).headerBytes),
  };
  expect(sealing.digests()).toEqual(digests);
  expect(flow.digests()).toEqual(digests);
  expect(layoutOf(parseHeader(sealed), sealed.length).contentBytes).toBe(size);
});

describe("age-encryption", () => {
  test.each(SIZES)("opens ours and we open its: %i bytes", async (size) => {
    const plaintext = entropy(size);
    const decrypter = new Decrypter();
    decrypter.addIdentity(identity.text);
    expect(digestOf(await decrypter.decrypt(await sealOf(plaintext)))).toBe(digestOf(plaintext));
    const encrypter = new Encrypter();
    encrypter.addRecipient(identity.recipient.text);
    const theirs = await encrypter.encrypt(plaintext);
    expect(digestOf(await collect(await open([theirs], [identity])))).toBe(digestOf(plaintext));
  });

  test("agrees on hybrid post-quantum recipients and identities", async () => {
    const hybrid = hybridIdentity(entropy(32));
    const plaintext = entropy(1000);
    const decrypter = new Decrypter();
    decrypter.addIdentity(hybrid.text);
    const ours = await collect(seal([plaintext], [parseRecipient(hybrid.recipient.text)], entropy));
    expect(await decrypter.decrypt(ours)).toEqual(plaintext);
    const encrypter = new Encrypter();
    encrypter.addRecipient(hybrid.recipient.text);
    const theirs = await encrypter.encrypt(plaintext);
    expect(await collect(await open([theirs], [identity, hybrid]))).toEqual(plaintext);
  });

  test("agrees on passphrases", async () => {
    const plaintext = entropy(1000);
    const decrypter = new Decrypter();
    decrypter.addPassphrase("correct horse");
    const ours = await collect(seal([plaintext], [passphraseRecipient("correct horse", 12)], entropy));
    expect(await decrypter.decrypt(ours)).toEqual(plaintext);
    const encrypter = new Encrypter();
    encrypter.setPassphrase("correct horse");
    encrypter.setScryptWorkFactor(12);
    const theirs = await encrypter.encrypt(plaintext);
    expect(await collect(await open([theirs], [passphraseIdentity("correct horse")]))).toEqual(plaintext);
  });
});

describe("refused", () => {
  test.each([
    ["no recipients", []],
    ["a passphrase beside another", [identity.recipient, passphraseRecipient("x", 10)]],
    ["post-quantum beside X25519", [identity.recipient, hybridIdentity(entropy(32)).recipient]],
  ])("%s", (_, recipients) => {
    expect(() => seal([], recipients, entropy)).toThrow(
      expect.objectContaining({ code: "SEALED_RECIPIENTS_MALFORMED" }),
    );
  });

  test("another identity", async () => {
    await expect(open([await sealOf(entropy(10))], [other])).rejects.toMatchObject({
      code: "SEALED_NO_IDENTITY_MATCHES",
    });
  });

  test("a wrong passphrase", async () => {
    const sealed = await collect(seal([entropy(10)], [passphraseRecipient("right", 10)], entropy));
    await expect(open([sealed], [passphraseIdentity("wrong")])).rejects.toMatchObject({
      code: "SEALED_PASSPHRASE_WRONG",
    });
  });

  test("a passphrase that asks for more work than is allowed", async () => {
    const sealed = await collect(seal([entropy(10)], [passphraseRecipient("right", 12)], entropy));
    await expect(open([sealed], [passphraseIdentity("right", 11)])).rejects.toMatchObject({
      code: "SEALED_WORK_FACTOR_TOO_LARGE",
    });
  });

  test("a header that does not end", async () => {
    let taken = 0;
    async function* endless() {
      yield Buffer.from("age-encryption.org/v1\n-> X25519 ");
      for (;;) {
        taken += 65_536;
        yield new Uint8Array(65_536).fill(65);
      }
    }
    await expect(open(endless(), [identity])).rejects.toMatchObject({ code: "SEALED_HEADER_TOO_LARGE" });
    expect(taken).toBeLessThan(4 << 20);
  });
});

describe("an object that was tampered with opens to nothing but a genuine beginning", () => {
  const plaintext = entropy(4 * CHUNK_BYTES + 100);
  const sealedChunk = CHUNK_BYTES + 16;

  async function refusalOf(bytes: Uint8Array): Promise<string> {
    const given: Uint8Array[] = [];
    try {
      for await (const piece of await open([bytes], [identity])) given.push(piece);
    } catch (thrown) {
      const prefix = Buffer.concat(given);
      expect(prefix.equals(plaintext.subarray(0, prefix.length))).toBe(true);
      return (thrown as { code: string }).code;
    }
    return "opened";
  }

  async function parts() {
    const sealed = await sealOf(plaintext);
    const start = parseHeader(sealed).headerBytes.length + 16;
    const chunks = piecesOf(sealed.subarray(start), sealedChunk);
    return {
      sealed,
      start,
      chunks,
      rebuild: (list: Uint8Array[]) => Buffer.concat([sealed.subarray(0, start), ...list]),
    };
  }

  test("chunks in another order", async () => {
    const { chunks, rebuild } = await parts();
    const [a, b, ...rest] = chunks as [Uint8Array, Uint8Array, ...Uint8Array[]];
    expect(await refusalOf(rebuild([b, a, ...rest]))).toBe("SEALED_CHUNK_FORGED");
  });

  test("a chunk twice", async () => {
    const { chunks, rebuild } = await parts();
    expect(await refusalOf(rebuild([chunks[0] as Uint8Array, ...chunks]))).toBe("SEALED_CHUNK_FORGED");
  });

  test("a chunk left out", async () => {
    const { chunks, rebuild } = await parts();
    expect(await refusalOf(rebuild(chunks.toSpliced(1, 1)))).toBe("SEALED_CHUNK_FORGED");
  });

  test("cut at a chunk's end", async () => {
    const { chunks, rebuild } = await parts();
    expect(await refusalOf(rebuild(chunks.slice(0, 3)))).toBe("SEALED_TRUNCATED");
  });

  test("something after the end", async () => {
    const { chunks, rebuild } = await parts();
    expect(await refusalOf(rebuild([...chunks, chunks[4] as Uint8Array]))).toMatch(/FORGED|TRAILING/);
  });

  test("the payload of another object", async () => {
    const [mine, theirs] = [await parts(), await parts()];
    expect(await refusalOf(mine.rebuild(theirs.chunks))).toBe("SEALED_CHUNK_FORGED");
  });

  test("any single changed bit, any cut", async () => {
    const { sealed } = await parts();
    await fc.assert(
      fc.asyncProperty(fc.nat(sealed.length - 1), fc.nat(7), fc.boolean(), async (at, bit, cut) => {
        const changed = Uint8Array.from(sealed);
        changed[at] = (changed[at] as number) ^ (1 << bit);
        expect(await refusalOf(cut ? sealed.subarray(0, at) : changed)).toMatch(/^SEALED_/);
      }),
      { numRuns: 60 },
    );
  });
});

describe("a range", () => {
  test("is what lies there, at any size, offset and length", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.constantFrom(...SIZES),
        fc.double({ min: 0, max: 1, noNaN: true }),
        fc.double({ min: 0, max: 1, noNaN: true }),
        async (size, from, share) => {
          const plaintext = entropy(size);
          const offset = Math.floor(from * size);
          const length = Math.floor(share * (size - offset));
          const range = openRange(
            sourceOf(await sealOf(plaintext)),
            (header) => unwrapFileKey(header, [identity]),
            { offset, length },
          );
          expect(digestOf(await collect(range))).toBe(digestOf(plaintext.subarray(offset, offset + length)));
        },
      ),
      { numRuns: 60 },
    );
  });

  test("reads little of a large object", async () => {
    const source = sourceOf(await sealOf(entropy(40 * CHUNK_BYTES)));
    await collect(
      openRange(source, (header) => unwrapFileKey(header, [identity]), { offset: 100_000, length: 10 }),
    );
    expect(source.bytesRead).toBeLessThan(4 * CHUNK_BYTES);
  });

  test.each([
    [11, 0],
    [5, 6],
    [-1, 1],
    [0, -1],
  ])("outside the object is refused: %i, %i", async (offset, length) => {
    const range = openRange(
      sourceOf(await sealOf(entropy(10))),
      (header) => unwrapFileKey(header, [identity]),
      { offset, length },
    );
    await expect(collect(range)).rejects.toMatchObject({ code: "SEALED_RANGE_OUTSIDE" });
  });

  test("of a cut object is refused before anything is given out", async () => {
    const sealed = await sealOf(entropy(3 * CHUNK_BYTES));
    const start = parseHeader(sealed).headerBytes.length + 16;
    for (const end of [start + CHUNK_BYTES + 16, start + 100_000, start + 8, start]) {
      const range = openRange(
        sourceOf(sealed.subarray(0, end)),
        (header) => unwrapFileKey(header, [identity]),
        { offset: 0, length: 1 },
      );
      await expect(range.next()).rejects.toMatchObject({ code: expect.stringMatching(/^SEALED_/) });
    }
  });
});

test("a header can be read first and the payload opened later", async () => {
  const plaintext = entropy(200_000);
  const reader = await readSealed(piecesOf(await sealOf(plaintext), 7));
  expect(reader.header.stanzas).toHaveLength(1);
  const flow = openWithFileKey(reader, unwrapFileKey(reader.header, [identity]));
  expect(digestOf(await collect(flow))).toBe(digestOf(plaintext));
});
