/** The suite once more, against a server that others wrote. `npm run test:s3` starts one; without it all is skipped. */
import { randomUUID } from "node:crypto";
import { codeOf, digestOf } from "@cloister/core";
import { describe, expect, test } from "vitest";
import { signS3 } from "../../src/store/s3-signature.ts";
import { openS3Store, type S3Options } from "../../src/store/s3.ts";
import { bytesOf, collect, listed, objectStoreCompliance, piecesOf } from "./compliance.ts";

const endpoint = process.env["CLOISTER_TEST_S3"];
const CREDENTIALS = { accessKeyId: "test-key", secretAccessKey: "test-secret", region: "us-east-1" };
const PART_BYTES = 5 << 20;

async function send(method: string, path: string, body = new Uint8Array(0)): Promise<Response> {
  const host = new URL(endpoint ?? "").host;
  const headers = signS3({ method, host, path, query: {}, headers: {}, body }, CREDENTIALS, Date.now());
  return fetch(`${endpoint}${path}`, { method, headers, ...(method === "PUT" ? { body } : {}) });
}

async function create(options: Partial<S3Options> = {}) {
  const bucket = `bucket-${randomUUID()}`;
  expect((await send("PUT", `/${bucket}`)).status).toBe(200);
  const store = openS3Store({
    ...CREDENTIALS,
    endpoint: endpoint ?? "",
    bucket,
    nowMs: Date.now,
    partBytes: PART_BYTES,
    ...options,
  });
  return { bucket, store };
}

const outcome = (work: Promise<unknown>): Promise<string> => work.then(() => "done", codeOf);

describe.skipIf(endpoint === undefined)("a real S3 server (npm run test:s3 starts one)", () => {
  objectStoreCompliance(async () => {
    const { bucket, store } = await create();
    return {
      store,
      spoil: async (digest) => {
        const bytes = await collect(store.get(digest));
        bytes[bytes.length >> 1] = (bytes[bytes.length >> 1] as number) ^ 1;
        const put = await send("PUT", `/${bucket}/objects/${digest.slice(7)}`, new Uint8Array(bytes));
        if (!put.ok) throw new Error(`the server answered ${put.status}`);
      },
    };
  });

  test("a large object goes up in parts, is moved to its name, and leaves nothing beside it", async () => {
    const { bucket, store } = await create();
    const object = bytesOf(2 * PART_BYTES + 12_345);
    const { digest } = await store.put(piecesOf(object, 1 << 20));
    expect(digestOf(await collect(store.get(digest)))).toBe(digestOf(object));
    const all = await (await send("GET", `/${bucket}`)).text();
    expect(all.match(/<Key>/g)).toHaveLength(1);
  });

  test("an upload that broke off goes on with the parts that are there", async () => {
    const { store } = await create();
    const object = bytesOf(3 * PART_BYTES + 7);
    const read = (from: number, failing: boolean) =>
      async function* (offset: number, length: number) {
        if (failing && offset >= from) throw new Error("the line went dead");
        yield object.subarray(offset, offset + length);
      };
    const description = { digest: digestOf(object), sizeBytes: object.length };
    const broken = store.putResumable({ ...description, read: read(2 * PART_BYTES, true) });
    await expect(broken).rejects.toThrow("the line went dead");
    expect(await store.stat(description.digest)).toBeUndefined();
    await store.putResumable({ ...description, read: read(0, false) });
    expect(digestOf(await collect(store.get(description.digest)))).toBe(description.digest);
  });

  test("more objects than a page of 1,000 are listed", async () => {
    const { store } = await create();
    const numbers = Array.from({ length: 1_010 }, (_, i) => i);
    for (let at = 0; at < numbers.length; at += 50) {
      const batch = numbers.slice(at, at + 50).map((n) => new TextEncoder().encode(`object ${n}`));
      await Promise.all(batch.map((bytes) => store.put(piecesOf(bytes, 64))));
    }
    expect(await listed(store)).toHaveLength(numbers.length);
  });

  test.each([{ secretAccessKey: "wrong" }, { accessKeyId: "nobody" }])("%j is refused", async (wrong) => {
    const { store } = await create(wrong);
    expect(await outcome(store.put(piecesOf(bytesOf(1), 1)))).toBe("OBJECT_STORE_NOT_WRITABLE");
  });

  test("a bucket that is not there is refused", async () => {
    const { store } = await create({ bucket: `none-${randomUUID()}` });
    expect(await outcome(store.put(piecesOf(bytesOf(1), 1)))).toBe("OBJECT_STORE_FAILED");
  });

  test("a clock that is an hour wrong is refused", async () => {
    const { store } = await create({ nowMs: () => Date.now() - 3_600_000 });
    expect(await outcome(store.put(piecesOf(bytesOf(1), 1)))).toBe("OBJECT_STORE_NOT_WRITABLE");
  });
});
