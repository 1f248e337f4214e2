import { CloisterError, digestOf, parseDigest, type Digest, type ObjectStore } from "@cloister/core";
import { checked, checkRange } from "../../src/store/directory.ts";
import { collect } from "./compliance.ts";

/** An object store in memory, for tests of what stands above stores. */
export class MemoryStore implements ObjectStore {
  readonly name: string;
  readonly objects = new Map<Digest, Uint8Array>();

  constructor(name = "memory store") {
    this.name = name;
  }

  async put(object: AsyncIterable<Uint8Array>): Promise<{ digest: Digest; sizeBytes: number }> {
    const bytes = await collect(object);
    this.objects.set(digestOf(bytes), bytes);
    return { digest: digestOf(bytes), sizeBytes: bytes.length };
  }

  async *get(digest: Digest, range?: { offset: number; length: number }): AsyncGenerator<Uint8Array> {
    const bytes = this.objects.get(parseDigest(digest));
    if (bytes === undefined) throw new CloisterError("OBJECT_NOT_FOUND", `The ${this.name} lacks ${digest}.`);
    const { offset, length } = range ?? { offset: 0, length: bytes.length };
    checkRange(digest, bytes.length, offset, length);
    const pieces = pieces64(bytes.subarray(offset, offset + length));
    yield* range === undefined ? checked(pieces, digest, this.name) : pieces;
  }

  async stat(digest: Digest): Promise<{ sizeBytes: number } | undefined> {
    const bytes = this.objects.get(parseDigest(digest));
    return bytes === undefined ? undefined : { sizeBytes: bytes.length };
  }

  async *list(): AsyncGenerator<Digest> {
    yield* this.objects.keys();
  }

  async delete(digest: Digest): Promise<void> {
    this.objects.delete(parseDigest(digest));
  }
}

async function* pieces64(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += 65_536) yield bytes.subarray(at, at + 65_536);
}
