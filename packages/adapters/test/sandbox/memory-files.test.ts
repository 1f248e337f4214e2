import { fromUtf8, utf8 } from "@cloister/core";
import { wasi, type Fd } from "@bjorn3/browser_wasi_shim";
import fc from "fast-check";
import { expect, test } from "vitest";
import { Budget, FileTree, FolderDescriptor, OutputExceeded } from "../../src/sandbox/memory-files.ts";

const READ = BigInt(wasi.RIGHTS_FD_READ);
const WRITE = BigInt(wasi.RIGHTS_FD_WRITE);
const CREATE = wasi.OFLAGS_CREAT;

function rootOf(budget = new Budget(1000, 3)): { tree: FileTree; root: FolderDescriptor; budget: Budget } {
  const tree = new FileTree(utf8("{}"), [{ name: "a", bytes: utf8("secret") }], budget);
  return { tree, root: new FolderDescriptor(tree, "", true), budget };
}

function open(folder: Fd, path: string, flags = 0, rights = READ): Fd | number {
  const { ret, fd_obj } = folder.path_open(0, path, flags, rights, 0n, 0);
  return fd_obj ?? ret;
}

function opened(folder: Fd, path: string, flags = 0, rights = READ): Fd {
  const found = open(folder, path, flags, rights);
  if (typeof found === "number") throw new Error(`${path}: errno ${found}`);
  return found;
}

test("arguments and inputs are read, outputs are written and listed", () => {
  const { tree, root } = rootOf();
  expect(fromUtf8(opened(root, "args.json").fd_read(100).data)).toBe("{}");
  expect(fromUtf8(opened(root, "inputs/a").fd_read(100).data)).toBe("secret");
  const output = opened(root, "outputs/b", CREATE, WRITE);
  output.fd_write(utf8("1234"));
  output.fd_seek(1n, wasi.WHENCE_SET);
  output.fd_write(utf8("x"));
  output.fd_pwrite(utf8("y"), 6n);
  expect(tree.outputs().map(({ name, bytes }) => [name, fromUtf8(bytes)])).toEqual([["b", "1x34\0\0y"]]);
  expect(names(root)).toEqual(["args.json", "inputs", "outputs"]);
  expect(names(opened(root, "inputs"))).toEqual(["a"]);
});

function names(folder: Fd): string[] {
  const list: string[] = [];
  for (let cookie = 0n; ; cookie++) {
    const { dirent } = folder.fd_readdir_single(cookie);
    if (dirent === null) return list;
    list.push(fromUtf8(new Uint8Array(dirent.dir_name)));
  }
}

test.each([
  ["..", 0],
  ["../etc/passwd", 0],
  ["inputs/../../x", 0],
  ["/etc/passwd", 0],
  ["inputs/a\0b", 0],
  ["new", CREATE],
  ["inputs/new", CREATE],
  ["outputs/sub/new", CREATE],
  ["inputs/a", wasi.OFLAGS_TRUNC],
])("the path %j with flags %d leads nowhere", (path, flags) => {
  const { root, tree } = rootOf();
  expect(open(root, path, flags, WRITE)).toBe(wasi.ERRNO_NOTCAPABLE);
  expect(tree.outputs()).toEqual([]);
});

test.each(["outputs/.hidden", "outputs/a b", `outputs/${"x".repeat(65)}`])(
  "%j cannot be an output",
  (path) => {
    expect(open(rootOf().root, path, CREATE, WRITE)).toBe(wasi.ERRNO_INVAL);
  },
);

test("an input cannot be changed through a descriptor that was opened to read", () => {
  const { root } = rootOf();
  const input = opened(root, "inputs/a");
  expect(input.fd_write(utf8("x")).ret).toBe(wasi.ERRNO_BADF);
  expect(input.fd_pwrite(utf8("x"), 0n).ret).toBe(wasi.ERRNO_BADF);
  expect(input.fd_filestat_set_size(0n)).toBe(wasi.ERRNO_BADF);
  expect(input.fd_allocate(0n, 100n)).toBe(wasi.ERRNO_BADF);
  expect(root.path_unlink_file("inputs/a")).toBe(wasi.ERRNO_NOTCAPABLE);
  expect(root.path_unlink("inputs/a").ret).toBe(wasi.ERRNO_NOTCAPABLE);
  expect(root.path_create_directory("outputs/sub")).toBe(wasi.ERRNO_NOTCAPABLE);
  expect(fromUtf8(opened(root, "inputs/a").fd_read(100).data)).toBe("secret");
});

test("opening what exists exclusively, a file as a folder, and what is not there fail each in its way", () => {
  const { root } = rootOf();
  expect(open(root, "inputs/a", CREATE | wasi.OFLAGS_EXCL)).toBe(wasi.ERRNO_EXIST);
  expect(open(root, "inputs/a", wasi.OFLAGS_DIRECTORY)).toBe(wasi.ERRNO_NOTDIR);
  expect(open(root, "inputs/b")).toBe(wasi.ERRNO_NOENT);
});

test("the budget counts what is there, not what was", () => {
  const { root, budget, tree } = rootOf();
  const output = opened(root, "outputs/b", CREATE, WRITE);
  for (let i = 0; i < 10; i++) {
    output.fd_filestat_set_size(900n);
    output.fd_filestat_set_size(0n);
  }
  root.path_unlink_file("outputs/b");
  opened(root, "outputs/c", CREATE, WRITE).fd_write(new Uint8Array(1000));
  expect(budget.exceeded).toBe(false);
  expect(tree.outputs().map(({ name }) => name)).toEqual(["c"]);
});

test.each<[string, (root: FolderDescriptor) => unknown]>([
  ["bytes written", (root) => opened(root, "outputs/b", CREATE, WRITE).fd_write(new Uint8Array(1001))],
  ["a size set", (root) => opened(root, "outputs/b", CREATE, WRITE).fd_filestat_set_size(2n ** 63n)],
  ["a size allocated", (root) => opened(root, "outputs/b", CREATE, WRITE).fd_allocate(2n ** 60n, 1n)],
  [
    "a write far beyond the end",
    (root) => opened(root, "outputs/b", CREATE, WRITE).fd_pwrite(utf8("x"), 2n ** 52n),
  ],
  [
    "a file too many",
    (root) => ["b", "c", "d", "e"].map((name) => open(root, `outputs/${name}`, CREATE, WRITE)),
  ],
])("%s beyond the budget stop the engine, for good", (_what, exceed) => {
  const { root, budget } = rootOf();
  expect(() => exceed(root)).toThrow(OutputExceeded);
  expect(budget.exceeded).toBe(true);
});

test("an engine that opens for ever is told to stop", () => {
  const { root } = rootOf();
  for (let i = 0; i < 100_000; i++) open(root, "inputs/a");
  expect(open(root, "inputs/a")).toBe(wasi.ERRNO_NFILE);
});

/** One step of an engine, on one of three names. */
const step = fc.record({
  name: fc.constantFrom("b", "c", "d"),
  other: fc.constantFrom("b", "c", "d"),
  act: fc.constantFrom("write", "append", "truncate", "resize", "remove", "rename"),
  size: fc.nat(400),
});

test("whatever an engine does, what is left never exceeds the budget, and nothing is lost in between", () => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
      const { root, tree, budget } = rootOf(new Budget(1000, 3));
      const model = new Map<string, number>();
      for (const { name, other, act, size } of steps) {
        try {
          apply(root, model, { name, other, act, size });
        } catch (error) {
          expect(error).toBeInstanceOf(OutputExceeded);
          expect(budget.exceeded).toBe(true);
          return;
        }
        const sizes = tree.outputs().map((output) => [output.name, output.bytes.length]);
        expect(sizes).toEqual([...model].toSorted(([a], [b]) => (a < b ? -1 : 1)));
        expect([...model.values()].reduce((sum, bytes) => sum + bytes, 0)).toBeLessThanOrEqual(1000);
      }
    }),
  );
});

function apply(
  root: FolderDescriptor,
  model: Map<string, number>,
  { name, other, act, size }: { name: string; other: string; act: string; size: number },
): void {
  const path = `outputs/${name}`;
  const before = model.get(name) ?? 0;
  if (act === "remove") {
    root.path_unlink_file(path);
    model.delete(name);
  } else if (act === "rename") {
    const { inode_obj } = root.path_unlink(path);
    if (inode_obj === null) return;
    root.path_link(`outputs/${other}`, inode_obj);
    model.delete(name);
    model.set(other, before);
  } else if (act === "resize") {
    opened(root, path, CREATE, WRITE).fd_filestat_set_size(BigInt(size));
    model.set(name, size);
  } else if (act === "truncate") {
    opened(root, path, CREATE | wasi.OFLAGS_TRUNC, WRITE);
    model.set(name, 0);
  } else {
    const file = opened(root, path, CREATE, WRITE);
    if (act === "append") file.fd_seek(0n, wasi.WHENCE_END);
    file.fd_write(new Uint8Array(size).fill(1));
    model.set(name, act === "append" ? before + size : Math.max(before, size));
  }
}
