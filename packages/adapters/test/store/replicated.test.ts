import { CloisterError, digestOf, type Digest, type ObjectStore } from "@cloister/core";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { createReplicatedStore, type StoreFault } from "../../src/store/replicated.ts";
import { bytesOf, collect, listed, objectStoreCompliance, piecesOf } from "./compliance.ts";
import { MemoryStore } from "./memory.ts";

function createThree(copiesMin = 2) {
  const stores = ["a", "b", "c"].map((name) => new MemoryStore(name)) as [
    MemoryStore,
    MemoryStore,
    MemoryStore,
  ];
  const faults: StoreFault[] = [];
  return {
    stores,
    faults,
    store: createReplicatedStore(stores, { copiesMin, onFault: (fault) => faults.push(fault) }),
  };
}

function spoil(store: MemoryStore, digest: Digest): void {
  const bytes = Uint8Array.from(store.objects.get(digest) as Uint8Array);
  bytes[bytes.length >> 1] = (bytes[bytes.length >> 1] as number) ^ 1;
  store.objects.set(digest, bytes);
}

/** A store whose every call fails. */
class LostStore extends MemoryStore {
  #fail(): never {
    throw new CloisterError("OBJECT_STORE_FAILED", `The ${this.name} is gone.`);
  }
  override async put(): Promise<never> {
    this.#fail();
  }
  // oxlint-disable-next-line require-yield -- it fails before it could
  override async *get(): AsyncGenerator<Uint8Array> {
    this.#fail();
  }
  override async stat(): Promise<never> {
    this.#fail();
  }
  // oxlint-disable-next-line require-yield -- it fails before it could
  override async *list(): AsyncGenerator<Digest> {
    this.#fail();
  }
}

/** A store that fails in the middle of a put. */
class FullStore extends MemoryStore {
  override async put(object: AsyncIterable<Uint8Array>): Promise<never> {
    for await (const piece of object) if (piece.length > 0) break;
    throw new CloisterError("OBJECT_STORE_FULL", `The ${this.name} is full.`);
  }
}

objectStoreCompliance(async () => {
  const { stores, store } = createThree();
  return { store, spoil: async (digest) => stores.forEach((each) => spoil(each, digest)) };
});

describe("losing any one store loses nothing", () => {
  test.each([0, 1, 2])("store %i is gone", async (gone) => {
    const { stores } = createThree();
    const before = createReplicatedStore(stores, { copiesMin: 2 });
    const { digest } = await before.put(piecesOf(bytesOf(100_000), 7000));
    const left: ObjectStore[] = [...stores];
    left[gone] = new LostStore("lost");
    const faults: StoreFault[] = [];
    const after = createReplicatedStore(left, { copiesMin: 2, onFault: (fault) => faults.push(fault) });
    expect(digestOf(await collect(after.get(digest)))).toBe(digest);
    expect(await collect(after.get(digest, { offset: 10, length: 5 }))).toEqual(
      bytesOf(100_000).subarray(10, 15),
    );
    expect(await after.stat(digest)).toEqual({ sizeBytes: 100_000 });
    expect(await listed(after)).toEqual([digest]);
    const second = await after.put(piecesOf(bytesOf(50), 7));
    expect(digestOf(await collect(after.get(second.digest)))).toBe(second.digest);
    expect(new Set(faults.map((fault) => fault.store))).toEqual(new Set(["lost"]));
  });

  test.each([0, 1, 2])("store %i lies: it is named and the right bytes come", async (liar) => {
    const { stores, store, faults } = createThree();
    const { digest } = await store.put(piecesOf(bytesOf(100_000), 7000));
    spoil(stores[liar] as MemoryStore, digest);
    expect(digestOf(await collect(store.get(digest)))).toBe(digest);
    await store.repair();
    expect(faults.map(({ store: name, code }) => [name, code])).toContainEqual([
      stores[liar]?.name,
      "OBJECT_CORRUPT",
    ]);
  });

  test("a store that gives less than the range is passed over", async () => {
    const { stores, store } = createThree();
    const { digest } = await store.put(piecesOf(bytesOf(1000), 100));
    stores[0].get = async function* () {
      yield bytesOf(3);
    };
    expect(await collect(store.get(digest, { offset: 0, length: 10 }))).toEqual(
      bytesOf(1000).subarray(0, 10),
    );
  });
});

describe("putting", () => {
  test("goes on when one store is full, and says so", async () => {
    const { stores } = createThree();
    const faults: StoreFault[] = [];
    const store = createReplicatedStore([stores[0], new FullStore("full"), stores[1]], {
      copiesMin: 2,
      onFault: (fault) => faults.push(fault),
    });
    const { digest } = await store.put(piecesOf(bytesOf(100_000), 1000));
    expect([...stores[0].objects.keys(), ...stores[1].objects.keys()]).toEqual([digest, digest]);
    expect(faults).toMatchObject([{ store: "full", code: "OBJECT_STORE_FULL" }]);
  });

  test("fails when too few copies were stored", async () => {
    const store = createReplicatedStore([new FullStore("x"), new MemoryStore("y"), new LostStore("z")], {
      copiesMin: 2,
    });
    await expect(store.put(piecesOf(bytesOf(10), 3))).rejects.toMatchObject({
      code: "OBJECT_STORE_FULL",
      message: expect.stringContaining("1 of 2 copies"),
    });
  });

  test("does not believe a store's word for the digest", async () => {
    const { stores } = createThree();
    stores[0].put = async () => ({ digest: digestOf(bytesOf(1)), sizeBytes: 1 });
    const store = createReplicatedStore(stores, { copiesMin: 3 });
    await expect(store.put(piecesOf(bytesOf(10), 3))).rejects.toMatchObject({ code: "OBJECT_CORRUPT" });
  });

  test("takes at least as many stores as copies", () => {
    for (const copiesMin of [0, 2]) {
      expect(() => createReplicatedStore([new MemoryStore()], { copiesMin })).toThrow(
        expect.objectContaining({ code: "OBJECT_STORE_TOO_FEW" }),
      );
    }
  });
});

describe("large objects", () => {
  const large = bytesOf(9 << 20);

  test("a lie is named at the end, and the next read begins elsewhere", async () => {
    const { stores, store } = createThree();
    const { digest } = await store.put(piecesOf(large, 1 << 20));
    spoil(stores[0], digest);
    await expect(collect(store.get(digest))).rejects.toMatchObject({
      code: "OBJECT_CORRUPT",
      details: { store: "a" },
    });
    expect(digestOf(await collect(store.get(digest)))).toBe(digest);
  });
});

describe("repair", () => {
  test("puts again what is missing and what is wrong", async () => {
    const { stores, store } = createThree();
    const { digest: first } = await store.put(piecesOf(bytesOf(1000), 100));
    const { digest: second } = await store.put(piecesOf(bytesOf(2000), 100));
    stores[0].objects.delete(first);
    spoil(stores[2], second);
    const report = await store.repair();
    expect(report).toMatchObject({ objects: 2, failed: [], lost: [] });
    expect(
      new Set(report.repaired.map(({ store: name, digest, code }) => `${name} ${digest} ${code}`)),
    ).toEqual(new Set([`a ${first} OBJECT_NOT_FOUND`, `c ${second} OBJECT_CORRUPT`]));
    expect(await store.repair()).toMatchObject({ objects: 2, repaired: [], failed: [], lost: [] });
  });

  test("names what is lost", async () => {
    const { stores, store } = createThree();
    const { digest } = await store.put(piecesOf(bytesOf(1000), 100));
    for (const each of stores) spoil(each, digest);
    expect(await store.repair()).toMatchObject({ lost: [digest], repaired: [] });
  });

  test("whatever happens to two of three copies, repair brings all three back", async () => {
    const damage = fc.constantFrom("none", "missing", "wrong");
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.tuple(damage, damage, fc.nat(2)), { minLength: 1, maxLength: 5 }),
        async (plan) => {
          const { stores, store } = createThree();
          for (const [i, [one, two, spared]] of plan.entries()) {
            const { digest } = await store.put(piecesOf(bytesOf(100 + i), 30));
            const hit = stores.filter((_, at) => at !== spared);
            for (const [at, what] of [one, two].entries()) {
              if (what === "missing") hit[at]?.objects.delete(digest);
              if (what === "wrong") spoil(hit[at] as MemoryStore, digest);
            }
          }
          const report = await store.repair();
          expect(report).toMatchObject({ objects: plan.length, failed: [], lost: [] });
          for (const each of stores) {
            expect(each.objects.size).toBe(plan.length);
            for (const [digest, bytes] of each.objects) expect(digestOf(bytes)).toBe(digest);
          }
        },
      ),
      { numRuns: 30 },
    );
  });
});
