import { assemble, hostileEngine, type HostileEngine } from "@cloister/examples/hostile-engines";
import fc from "fast-check";
import { expect, test } from "vitest";
import { inspectEngine } from "../src/index.ts";

const MIB = 1024 * 1024;

test("a module with WASI imports, one memory and _start passes", () => {
  const inspected = inspectEngine(hostileEngine("exits-nonzero"), MIB);
  expect(inspected).toEqual({
    ok: true,
    value: {
      imports: [
        { module: "wasi_snapshot_preview1", name: "proc_exit", kind: 0 },
        { module: "wasi_snapshot_preview1", name: "fd_write", kind: 0 },
      ],
      memoryBytesMin: 65_536,
    },
  });
});

const refusals: readonly [string, string, Uint8Array][] = [
  ["is empty", "ENGINE_MALFORMED", new Uint8Array()],
  ["is a component", "ENGINE_MALFORMED", Uint8Array.of(0, 0x61, 0x73, 0x6d, 0x0d, 0, 1, 0)],
  [
    "has a section that is cut off",
    "ENGINE_MALFORMED",
    Uint8Array.of(0, 0x61, 0x73, 0x6d, 1, 0, 0, 0, 5, 9, 1),
  ],
  [
    "has an endless number",
    "ENGINE_MALFORMED",
    Uint8Array.of(0, 0x61, 0x73, 0x6d, 1, 0, 0, 0, 5, 255, 255, 255, 255, 255, 1),
  ],
  ["lacks _start", "ENGINE_MALFORMED", hostileEngine("lacks-start")],
  ["has two memories", "ENGINE_MALFORMED", hostileEngine("two-memories")],
  ["hides its memory", "ENGINE_MALFORMED", assemble(`(module (memory 1) (func (export "_start")))`)],
  [
    "exports _start as a global",
    "ENGINE_MALFORMED",
    assemble(`(module (memory (export "memory") 1) (global (export "_start") i32 (i32.const 0)))`),
  ],
  [
    "has a 64-bit memory",
    "ENGINE_MALFORMED",
    assemble(`(module (memory (export "memory") i64 1) (func (export "_start")))`),
  ],
  [
    "has a shared memory",
    "ENGINE_MALFORMED",
    assemble(`(module (memory (export "memory") 1 2 shared) (func (export "_start")))`),
  ],
  ["imports a socket", "ENGINE_IMPORT_FORBIDDEN", hostileEngine("imports-a-socket")],
  ["imports the host", "ENGINE_IMPORT_FORBIDDEN", hostileEngine("imports-the-host")],
  [
    "imports a memory",
    "ENGINE_IMPORT_FORBIDDEN",
    assemble(`(module (import "wasi_snapshot_preview1" "memory" (memory 1)) (func (export "_start")))`),
  ],
  [
    "imports a global under a function's name",
    "ENGINE_IMPORT_FORBIDDEN",
    assemble(
      `(module (import "wasi_snapshot_preview1" "fd_write" (global i32)) (memory (export "memory") 1) (func (export "_start")))`,
    ),
  ],
  [
    "needs too much memory",
    "ENGINE_MEMORY_EXCEEDED",
    assemble(`(module (memory (export "memory") 17) (func (export "_start")))`),
  ],
];

test.each(refusals)("a module that %s is refused with %s", (_what, code, module) => {
  expect(inspectEngine(module, MIB)).toMatchObject({ ok: false, refusals: [{ code }] });
});

test("any bytes are judged without an error, and a changed module never passes with a foreign import", () => {
  const names: HostileEngine[] = ["exits-nonzero", "imports-the-host", "two-memories", "writes-too-much"];
  const mutation = fc.record({
    name: fc.constantFrom(...names),
    at: fc.nat(300),
    byte: fc.integer({ min: 0, max: 255 }),
  });
  fc.assert(
    fc.property(mutation, ({ name, at, byte }) => {
      const module = hostileEngine(name);
      module[at % module.length] = byte;
      const inspected = inspectEngine(module, MIB);
      const modules = inspected.ok ? inspected.value.imports.map((entry) => entry.module) : [];
      expect(modules.every((imported) => imported === "wasi_snapshot_preview1")).toBe(true);
    }),
  );
  fc.assert(fc.property(fc.uint8Array(), (bytes) => void inspectEngine(bytes, MIB)));
});
