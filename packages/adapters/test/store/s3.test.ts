import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { codeOf, digestOf, type Digest } from "@cloister/core";
import { afterEach, describe, expect, test } from "vitest";
import { signS3 } from "../../src/store/s3-signature.ts";
import { openS3Store, type S3Options } from "../../src/store/s3.ts";
import { uploadObject } from "../../src/store/transfers.ts";
import { bytesOf, collect, listed, objectStoreCompliance, piecesOf } from "./compliance.ts";
import { BUCKET, CREDENTIALS, S3Server, sendError } from "./s3-server.ts";

const running: S3Server[] = [];
afterEach(() => {
  for (const server of running.splice(0)) server.stop();
});

async function create(options: Partial<S3Options> = {}) {
  const server = new S3Server();
  running.push(server);
  const endpoint = await server.start();
  const store = openS3Store({
    ...CREDENTIALS,
    endpoint,
    bucket: BUCKET,
    nowMs: Date.now,
    partBytes: 100_000,
    retryMs: 1,
    ...options,
  });
  return { server, store };
}

const keyOf = (digest: Digest) => `objects/${digest.slice(7)}`;
const OBJECT = bytesOf(350_000);
const DIGEST = digestOf(OBJECT);

objectStoreCompliance(async () => {
  const { server, store } = await create();
  return {
    store,
    spoil: async (digest) => {
      const bytes = Buffer.from(server.objects.get(keyOf(digest)) as Buffer);
      bytes[bytes.length >> 1] = (bytes[bytes.length >> 1] as number) ^ 1;
      server.objects.set(keyOf(digest), bytes);
    },
  };
});

describe("a server that falls silent", () => {
  test("is given up when it never answers", async () => {
    const { server, store } = await create({ silentMs: 50, attemptsMax: 2 });
    server.misbehave = () => "handled";
    await expect(collect(store.get(DIGEST))).rejects.toMatchObject({ code: "OBJECT_STORE_UNREACHABLE" });
    expect(server.log).toHaveLength(2);
  });

  test("in the middle of an object is asked for the rest", async () => {
    const { server, store } = await create({ silentMs: 100 });
    server.objects.set(keyOf(DIGEST), Buffer.from(OBJECT));
    server.misbehave = ({ method, count }, response) => {
      if (method !== "GET" || count > 1) return undefined;
      response.writeHead(200, { "content-length": OBJECT.length });
      response.write(OBJECT.subarray(0, 1_000));
      return "handled";
    };
    expect(await collect(store.get(DIGEST))).toEqual(OBJECT);
  });

  test("in the middle of a list is given up", async () => {
    const { server, store } = await create({ silentMs: 50 });
    server.misbehave = (_, response) => {
      response.writeHead(200, { "content-length": 1_000 });
      response.write("<ListBucketResult>");
      return "handled";
    };
    await expect(listed(store)).rejects.toMatchObject({ code: "OBJECT_STORE_UNREACHABLE" });
  });

  test("does not count the time that a slow reader takes", async () => {
    const { server, store } = await create({ silentMs: 300, attemptsMax: 1 });
    server.objects.set(keyOf(DIGEST), Buffer.from(OBJECT));
    const slowly: Uint8Array[] = [];
    for await (const piece of store.get(DIGEST)) {
      if (slowly.push(piece) === 1) await new Promise((resolve) => setTimeout(resolve, 500));
    }
    expect(Buffer.concat(slowly).equals(OBJECT)).toBe(true);
    expect(server.log.filter((line) => line.startsWith("GET"))).toHaveLength(1);
  });
});

test("a request is signed as the specification's example (Amazon S3, GET Object)", () => {
  const headers = signS3(
    {
      method: "GET",
      host: "examplebucket.s3.amazonaws.com",
      path: "/test.txt",
      query: {},
      headers: { range: "bytes=0-9" },
      body: new Uint8Array(0),
    },
    {
      accessKeyId: "AKIAIOSFODNN7EXAMPLE",
      secretAccessKey: "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
      region: "us-east-1",
    },
    Date.UTC(2013, 4, 24),
  );
  expect(headers["authorization"]).toContain(
    "Signature=f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41",
  );
});

test("a large object goes up in parts and leaves nothing behind", async () => {
  const { server, store } = await create();
  expect(await store.put(piecesOf(OBJECT, 33_333))).toEqual({ digest: DIGEST, sizeBytes: OBJECT.length });
  expect([...server.objects.keys()]).toEqual([keyOf(DIGEST)]);
  expect(server.uploads.size).toBe(0);
});

test("more objects than a page are listed", async () => {
  const { store } = await create();
  const digests = await Promise.all(
    [1, 2, 3, 4, 5].map(async (n) => (await store.put(piecesOf(bytesOf(n), n))).digest),
  );
  expect(await listed(store)).toEqual(digests.toSorted());
});

describe("an upload that broke off", () => {
  async function fileOf(bytes: Uint8Array): Promise<string> {
    const path = join(await mkdtemp(join(tmpdir(), "cloister-s3-")), "object");
    await writeFile(path, bytes);
    return path;
  }

  test("goes on with the parts that are there", async () => {
    const { server, store } = await create();
    const path = await fileOf(OBJECT);
    const partsSent = () => server.log.filter((line) => line === `PUT ${keyOf(DIGEST)}`).length;
    server.misbehave = ({ method, query }, response) => {
      if (method !== "PUT" || query.get("partNumber") !== "4") return undefined;
      sendError(response, 403, "AccessDenied");
      return "handled";
    };
    await expect(uploadObject(store, path)).rejects.toMatchObject({ code: "OBJECT_STORE_NOT_WRITABLE" });
    expect(partsSent()).toBe(4);
    server.misbehave = () => undefined;
    const seen: number[] = [];
    expect(await uploadObject(store, path, (done) => seen.push(done))).toEqual({
      digest: DIGEST,
      sizeBytes: OBJECT.length,
    });
    expect(partsSent()).toBe(5);
    expect(seen).toEqual([100_000, 200_000, 300_000, 350_000]);
    expect(digestOf(await collect(store.get(DIGEST)))).toBe(DIGEST);
    await rm(join(path, ".."), { recursive: true });
  });

  test("replaces a copy that is there and wrong", async () => {
    const { server, store } = await create();
    const path = await fileOf(OBJECT);
    await uploadObject(store, path);
    server.objects.get(keyOf(DIGEST))?.fill(0, 200_000);
    await uploadObject(store, path);
    expect(digestOf(await collect(store.get(DIGEST)))).toBe(DIGEST);
    await rm(join(path, ".."), { recursive: true });
  });

  test("sends a part again that is not this file's", async () => {
    const { server, store } = await create();
    const path = await fileOf(OBJECT);
    server.uploads.set("foreign", {
      key: keyOf(DIGEST),
      parts: new Map([
        [1, Buffer.from(bytesOf(100_000).fill(7))],
        [2, Buffer.from(OBJECT.subarray(100_000, 200_000))],
      ]),
    });
    await uploadObject(store, path);
    expect(digestOf(await collect(store.get(DIGEST)))).toBe(DIGEST);
    await rm(join(path, ".."), { recursive: true });
  });

  test("of a file that changes in the middle is given up", async () => {
    const { server, store } = await create();
    const changing = {
      digest: DIGEST,
      sizeBytes: OBJECT.length,
      async *read(offset: number, length: number) {
        yield new Uint8Array(length).fill(offset === 0 ? 1 : 2);
      },
    };
    await expect(store.putResumable(changing)).rejects.toMatchObject({ code: "OBJECT_CHANGED" });
    expect([server.uploads.size, server.objects.size]).toEqual([0, 0]);
  });
});

describe("a server that misbehaves", () => {
  async function outcome(work: () => Promise<unknown>): Promise<string> {
    return work().then(
      () => "done",
      (failure: unknown) => codeOf(failure),
    );
  }

  test("is overloaded for a while: calls are repeated", async () => {
    const { server, store } = await create();
    server.misbehave = ({ count }, response) => {
      if (count > 2) return undefined;
      sendError(response, 503, "SlowDown");
      return "handled";
    };
    const small = bytesOf(10);
    await store.put(piecesOf(small, 10));
    expect(await collect(store.get(digestOf(small)))).toEqual(small);
  });

  test("stays overloaded", async () => {
    const { server, store } = await create();
    server.misbehave = (_, response) => {
      sendError(response, 503, "SlowDown");
      return "handled";
    };
    expect(await outcome(() => store.put(piecesOf(bytesOf(10), 10)))).toBe("OBJECT_STORE_FAILED");
    expect(await outcome(() => store.stat(DIGEST))).toBe("OBJECT_STORE_FAILED");
  });

  test("breaks connections: reads go on where they broke", async () => {
    const { server, store } = await create();
    await store.put(piecesOf(OBJECT, 50_000));
    server.misbehave = ({ method, count }) => (method === "GET" && count === 1 ? "cut" : undefined);
    expect(digestOf(await collect(store.get(DIGEST)))).toBe(DIGEST);
  });

  test("answers with half an object as if it were whole", async () => {
    const { server, store } = await create();
    await store.put(piecesOf(OBJECT, 50_000));
    server.misbehave = ({ method }) => (method === "GET" ? "short" : undefined);
    expect(await outcome(() => collect(store.get(DIGEST)))).toBe("OBJECT_CORRUPT");
  });

  test("ignores ranges", async () => {
    const { server, store } = await create();
    await store.put(piecesOf(OBJECT, 50_000));
    server.misbehave = ({ method }) => (method === "GET" ? "ignore-range" : undefined);
    expect(await outcome(() => collect(store.get(DIGEST, { offset: 5, length: 5 })))).toBe(
      "OBJECT_STORE_FAILED",
    );
  });

  test("says yes and means no at the end of an upload", async () => {
    const { server, store } = await create();
    server.misbehave = ({ method, query }, response) => {
      if (method !== "POST" || !query.has("uploadId")) return undefined;
      sendError(response, 200, "InvalidPart");
      return "handled";
    };
    expect(await outcome(() => store.put(piecesOf(OBJECT, 50_000)))).toBe("OBJECT_STORE_FAILED");
    expect([server.uploads.size, server.objects.size]).toEqual([0, 0]);
  });

  test("lists in a circle", async () => {
    const { server, store } = await create();
    server.misbehave = ({ query }, response) => {
      if (!query.has("list-type")) return undefined;
      response.end(
        "<R><IsTruncated>true</IsTruncated><NextContinuationToken>again</NextContinuationToken></R>",
      );
      return "handled";
    };
    expect(await outcome(() => listed(store))).toBe("OBJECT_STORE_FAILED");
  });

  test.each([
    [507, "InsufficientStorage", "OBJECT_STORE_FULL"],
    [403, "QuotaExceeded", "OBJECT_STORE_FULL"],
    [403, "AccessDenied", "OBJECT_STORE_NOT_WRITABLE"],
    [404, "NoSuchBucket", "OBJECT_STORE_FAILED"],
    [302, "", "OBJECT_STORE_UNREACHABLE"],
  ])("answers a put with %i %s: %s", async (status, said, code) => {
    const { server, store } = await create();
    server.misbehave = (_, response) => {
      if (status === 302) response.setHeader("location", "http://127.0.0.1:1/");
      sendError(response, status, said);
      return "handled";
    };
    expect(await outcome(() => store.put(piecesOf(OBJECT, 50_000)))).toBe(code);
  });

  test("is not there", async () => {
    const { server, store } = await create();
    server.stop();
    expect(await outcome(() => store.stat(DIGEST))).toBe("OBJECT_STORE_UNREACHABLE");
  });

  test.each([{ secretAccessKey: "wrong" }, { accessKeyId: "nobody" }, { region: "elsewhere" }])(
    "does not know these keys: %j",
    async (wrong) => {
      const { store } = await create(wrong);
      expect(await outcome(() => store.put(piecesOf(bytesOf(1), 1)))).toBe("OBJECT_STORE_NOT_WRITABLE");
    },
  );
});
