import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { utf8 } from "@cloister/core";
import fc from "fast-check";
import { afterAll, describe, expect, test } from "vitest";
import { collect, packTar, unpackTar, type TarSource } from "../../src/index.ts";
import { entropy } from "../release/group.ts";

const folder = mkdtempSync(join(tmpdir(), "cloister-tar-"));
afterAll(() => rmSync(folder, { recursive: true }));
const LIMITS = { entriesMax: 1000, bytesMax: 1 << 30 };
const LONG = `${"deep/".repeat(60)}file-${"x".repeat(100)}`;

function file(path: string, bytes: Uint8Array, isExecutable = false): TarSource {
  return { path, kind: "file", sizeBytes: bytes.length, isExecutable, read: () => [bytes] };
}

function directory(path: string): TarSource {
  return { path, kind: "directory", sizeBytes: 0, isExecutable: false, read: () => [] };
}

async function unpacked(
  archive: Uint8Array,
  limits = LIMITS,
  pieceBytes = 1000,
): Promise<[string, string, string][]> {
  const pieces = Array.from({ length: Math.ceil(archive.length / pieceBytes) }, (_, i) =>
    archive.subarray(i * pieceBytes, (i + 1) * pieceBytes),
  );
  const found: [string, string, string][] = [];
  for await (const entry of unpackTar(pieces, limits)) {
    const content = createHash("sha256")
      .update(await collect(entry.content))
      .digest("hex");
    found.push([entry.path, entry.isExecutable ? `${entry.kind} x` : entry.kind, content]);
  }
  return found;
}

const tree = [
  file("b.csv", entropy(5000)),
  directory("a"),
  file("a/empty", new Uint8Array(0)),
  file("a/run", entropy(512), true),
  file("ünï/çödé", entropy(10)),
  file(LONG, entropy(100)),
];

test("the same files give the same bytes in whatever order they come", async () => {
  const archive = await collect(packTar(tree));
  expect(await collect(packTar(tree.toReversed()))).toEqual(archive);
  expect((await unpacked(archive)).map(([path, kind]) => [path, kind])).toEqual([
    ["a", "directory x"],
    ["a/empty", "file"],
    ["a/run", "file x"],
    ["b.csv", "file"],
    [LONG, "file"],
    ["ünï/çödé", "file"],
  ]);
});

test("the system's tar unpacks ours, and we unpack its", async () => {
  writeFileSync(join(folder, "ours.tar"), await collect(packTar(tree)));
  const out = mkdtempSync(join(folder, "out"));
  execFileSync("tar", ["xf", join(folder, "ours.tar"), "-C", out]);
  expect(readdirSync(join(out, "a"))).toEqual(["empty", "run"]);
  expect(readFileSync(join(out, LONG))).toHaveLength(100);
  for (const format of ["ustar", "pax"]) {
    execFileSync("tar", [
      "cf",
      join(folder, "theirs.tar"),
      `--format=${format}`,
      "-C",
      out,
      "b.csv",
      "a",
      "ünï",
    ]);
    const names = (await unpacked(new Uint8Array(readFileSync(join(folder, "theirs.tar"))))).map(
      ([path]) => path,
    );
    expect(new Set(names)).toEqual(new Set(["a", "a/empty", "a/run", "b.csv", "ünï", "ünï/çödé"]));
  }
});

test("whatever the files, they come back", async () => {
  const name = fc.stringMatching(/^[a-z]{1,8}$/);
  const files = fc.uniqueArray(fc.tuple(name, fc.uint8Array({ maxLength: 2000 })), {
    selector: ([path]) => path,
    maxLength: 8,
  });
  await fc.assert(
    fc.asyncProperty(files, fc.integer({ min: 1, max: 3000 }), async (list, pieceBytes) => {
      const archive = await collect(packTar(list.map(([path, bytes]) => file(path, bytes))));
      const expected = list.map(([path, bytes]) => [
        path,
        "file",
        createHash("sha256").update(bytes).digest("hex"),
      ]);
      expect(new Set((await unpacked(archive, LIMITS, pieceBytes)).map(String))).toEqual(
        new Set(expected.map(String)),
      );
    }),
    { numRuns: 50 },
  );
});

describe("packing refuses", () => {
  test.each([
    "",
    "/etc/passwd",
    "../up",
    "a/../../up",
    "a//b",
    "./a",
    "a/",
    "a\\b",
    "a\0b",
    "a\nb",
    "x".repeat(5000),
  ])("the path %j", async (path) => {
    await expect(collect(packTar([file(path, entropy(1))]))).rejects.toMatchObject({
      code: "TAR_PATH_INVALID",
    });
  });

  test("a path twice, and a file that is also a directory", async () => {
    const twice = packTar([file("a", entropy(1)), file("a", entropy(1))]);
    await expect(collect(twice)).rejects.toMatchObject({ code: "TAR_PATH_TWICE" });
    const through = packTar([file("a", entropy(1)), file("a/b", entropy(1))]);
    await expect(collect(through)).rejects.toMatchObject({ code: "TAR_PATH_TWICE" });
  });

  test.each([99, 101])("a file that has %i bytes where 100 were stated", async (size) => {
    const source = { ...file("a", entropy(size)), sizeBytes: 100 };
    await expect(collect(packTar([source]))).rejects.toMatchObject({ code: "TAR_SIZE_CHANGED" });
  });
});

describe("unpacking refuses a hostile archive", () => {
  /** A valid archive with one header changed and its checksum mended. */
  async function forged(change: (block: Uint8Array) => void): Promise<Uint8Array> {
    const archive = await collect(packTar([file("harmless", entropy(600))]));
    const block = archive.subarray(0, 512);
    change(block);
    block.fill(32, 148, 156);
    const sum = block.reduce((total, byte) => total + byte, 0);
    block.set(utf8(`${sum.toString(8).padStart(6, "0")}\0 `), 148);
    return archive;
  }
  const put = (offset: number, text: string) => (block: Uint8Array) => block.set(utf8(text), offset);

  test.each(["../../../etc/passwd\0", "/etc/passwd\0", "a/../../b\0", "..\0", "C:\\x\0"])(
    "that writes to %j",
    async (path) => {
      await expect(unpacked(await forged(put(0, path)))).rejects.toMatchObject({ code: "TAR_PATH_INVALID" });
    },
  );

  test("that does so through the prefix field", async () => {
    await expect(unpacked(await forged(put(345, "../..\0")))).rejects.toMatchObject({
      code: "TAR_PATH_INVALID",
    });
  });

  test.each(["1", "2", "3", "4", "6", "7", "g", "L", "S"])(
    "with an entry of type %s: links, devices, extensions",
    async (type) => {
      await expect(unpacked(await forged(put(156, type)))).rejects.toMatchObject({
        code: "TAR_TYPE_NOT_ALLOWED",
      });
    },
  );

  test("that states gigabytes, or too many entries", async () => {
    const bomb = await forged(put(124, "77777777777\0"));
    await expect(unpacked(bomb)).rejects.toMatchObject({ code: "TAR_TOO_LARGE" });
    const many = await collect(packTar(Array.from({ length: 20 }, (_, i) => directory(`d${i}`))));
    await expect(unpacked(many, { ...LIMITS, entriesMax: 19 })).rejects.toMatchObject({
      code: "TAR_TOO_LARGE",
    });
  });

  test("whose short list of files implies folders without end: they count as entries", async () => {
    const deep = (n: number) => file(`${n}${"/a".repeat(127)}`, entropy(1));
    const one = await collect(packTar([deep(1)]));
    expect(await unpacked(one, { ...LIMITS, entriesMax: 128 })).toHaveLength(1);
    const three = await collect(packTar([deep(1), deep(2), deep(3)]));
    await expect(unpacked(three, { ...LIMITS, entriesMax: 128 })).rejects.toMatchObject({
      code: "TAR_TOO_LARGE",
    });
  });

  test("whose folders lie one in the other without end, which nobody packs and nobody unpacks", async () => {
    const path = `1${"/a".repeat(128)}`;
    await expect(collect(packTar([file(path, entropy(1))]))).rejects.toMatchObject({
      code: "TAR_PATH_INVALID",
    });
    const flat = path.replaceAll("/", "-");
    const archive = Buffer.from(await collect(packTar([file(flat, entropy(1))])));
    archive.write(path, archive.indexOf(flat));
    await expect(unpacked(archive)).rejects.toMatchObject({ code: "TAR_PATH_INVALID" });
  });

  test.each<[string, (archive: Uint8Array) => Uint8Array]>([
    ["cut in a file", (archive) => archive.subarray(0, 700)],
    ["cut before its end", (archive) => archive.subarray(0, -1024)],
    ["with something behind its end", (archive) => new Uint8Array([...archive, 1])],
    ["with a wrong checksum", (archive) => archive.with(0, 65)],
    ["with padding that is not zero", (archive) => archive.with(512 + 601, 1)],
    ["that is none", () => entropy(2048)],
    ["that is nothing", () => new Uint8Array(0)],
  ])("%s", async (_, change) => {
    const archive = await collect(packTar([file("harmless", entropy(600))]));
    await expect(unpacked(change(archive))).rejects.toMatchObject({ code: "TAR_MALFORMED" });
  });

  test.each(["9 path=", "3 a=b\n", "99 path=x\n", "x path=x\n", "10 =abcde\n"])(
    "with the pax record %j",
    async (record) => {
      const pax = utf8(record);
      const size = pax.length.toString(8).padStart(11, "0");
      const archive = await forged((block) => {
        block.set(utf8("x"), 156);
        block.set(utf8(`${size}\0`), 124);
      });
      archive.set(new Uint8Array(512), 512);
      archive.set(pax, 512);
      await expect(unpacked(archive)).rejects.toMatchObject({ code: "TAR_MALFORMED" });
    },
  );

  test("a changed byte behind the checksum, which covers all but its own field", async () => {
    const archive = await collect(packTar([file("harmless", entropy(10))]));
    for (const at of [154, 155]) {
      await expect(unpacked(archive.with(at, 49))).rejects.toMatchObject({ code: "TAR_MALFORMED" });
    }
  });

  test("any changed byte of a header, without anything but its codes", async () => {
    const archive = await collect(packTar([file("harmless", entropy(10))]));
    await fc.assert(
      fc.asyncProperty(fc.nat(511), fc.integer({ min: 1, max: 255 }), async (at, flip) => {
        const changed = archive.with(at, (archive[at] as number) ^ flip);
        await expect(unpacked(changed)).rejects.toMatchObject({ code: expect.stringMatching(/^TAR_/) });
      }),
    );
  });
});
