/** The part of binaryen that is used here. */
interface Binaryen {
  parseText(text: string): { setFeatures(features: number): void; emitBinary(): Uint8Array; dispose(): void };
  readonly Features: { readonly All: number };
}

// Loaded untyped: the package's declarations would give the whole program AssemblyScript's globals.
const specifier: string = "assemblyscript/binaryen";
const { default: binaryen } = (await import(specifier)) as { readonly default: Binaryen };

/** What each module does instead of computing. */
export type HostileEngine =
  | "loops-forever"
  | "eats-memory"
  | "writes-too-much"
  | "writes-too-many-files"
  | "grows-a-file"
  | "prints-forever"
  | "traps"
  | "overflows-stack"
  | "exits-nonzero"
  | "writes-nothing"
  | "opens-outside"
  | "overwrites-input"
  | "imports-a-socket"
  | "imports-the-host"
  | "lacks-start"
  | "two-memories"
  | "fills-the-heap";

/** Assembles one small module that misbehaves in one way. */
export function hostileEngine(name: HostileEngine): Uint8Array {
  return assemble(texts[name]);
}

/** Assembles a module from its text format. */
export function assemble(text: string): Uint8Array {
  const module = binaryen.parseText(text);
  try {
    module.setFeatures(binaryen.Features.All);
    return module.emitBinary();
  } finally {
    module.dispose();
  }
}

const WASI = `"wasi_snapshot_preview1"`;

const PATH_OPEN = `(import ${WASI} "path_open"
  (func $path_open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))`;
const FD_WRITE = `(import ${WASI} "fd_write" (func $fd_write (param i32 i32 i32 i32) (result i32)))`;
const PROC_EXIT = `(import ${WASI} "proc_exit" (func $proc_exit (param i32)))`;
const FD_READ = `(import ${WASI} "fd_read" (func $fd_read (param i32 i32 i32 i32) (result i32)))`;

/** Opens a path for writing, creating it; the descriptor goes to address 8. */
function openForWriting(address: number, length: number): string {
  return `(call $path_open (i32.const 3) (i32.const 0) (i32.const ${address}) (i32.const ${length})
    (i32.const 1) (i64.const 66) (i64.const 66) (i32.const 0) (i32.const 8))`;
}

/** Writes 64 KiB from address 0 to the descriptor at address 8, over and over until it is refused. */
const WRITE_UNTIL_REFUSED = `
  (i32.store (i32.const 16) (i32.const 0))
  (i32.store (i32.const 20) (i32.const 65536))
  (loop $again
    (br_if $again (i32.eqz (call $fd_write (i32.load (i32.const 8)) (i32.const 16) (i32.const 1) (i32.const 24)))))`;

/**
 * Tries to open paths outside of what an engine is given, copies whatever it could read into an
 * output, and exits with 0: a sandbox that lets anything through thereby shows what.
 */
function opensOutside(): string {
  const paths = ["/etc/passwd", "../etc/passwd", "inputs/../../etc/passwd", "proc/self/environ"];
  let address = 1024;
  const data: string[] = [];
  const calls: string[] = [];
  for (const path of paths) {
    data.push(`(data (i32.const ${address}) "${path}")`);
    calls.push(`(if (i32.eqz (call $path_open (i32.const 3) (i32.const 0) (i32.const ${address})
      (i32.const ${path.length}) (i32.const 0) (i64.const 2) (i64.const 2) (i32.const 0) (i32.const 8)))
      (then (drop (call $fd_read (i32.load (i32.const 8)) (i32.const 32) (i32.const 1) (i32.const 28)))
        (i32.store (i32.const 20) (i32.add (i32.load (i32.const 20)) (i32.load (i32.const 28))))))`);
    address += 64;
  }
  return `(module ${PATH_OPEN} ${FD_WRITE} ${FD_READ} (memory (export "memory") 2)
    (data (i32.const 512) "outputs/found")
    (data (i32.const 8192) "nothing")
    ${data.join("\n")}
    (func (export "_start")
      (i32.store (i32.const 16) (i32.const 8192))
      (i32.store (i32.const 20) (i32.const 7))
      (i32.store (i32.const 32) (i32.const 8199))
      (i32.store (i32.const 36) (i32.const 4096))
      ${calls.join("\n")}
      (drop ${openForWriting(512, 13)})
      (drop (call $fd_write (i32.load (i32.const 8)) (i32.const 16) (i32.const 1) (i32.const 24)))))`;
}

const texts: Readonly<Record<HostileEngine, string>> = {
  "loops-forever": `(module (memory (export "memory") 1) (func (export "_start") (loop $l (br $l))))`,
  "eats-memory": `(module (memory (export "memory") 1)
    (func (export "_start")
      (loop $l
        (if (i32.eq (memory.grow (i32.const 16)) (i32.const -1)) (then (unreachable)))
        (br $l))))`,
  "writes-too-much": `(module ${PATH_OPEN} ${FD_WRITE} (memory (export "memory") 2)
    (data (i32.const 512) "outputs/big")
    (func (export "_start") (drop ${openForWriting(512, 11)}) ${WRITE_UNTIL_REFUSED}))`,
  "writes-too-many-files": `(module ${PATH_OPEN} (memory (export "memory") 1)
    (data (i32.const 512) "outputs/aaaa")
    (func (export "_start") (local $n i32)
      (loop $again
        (i32.store (i32.const 520) (i32.add (i32.const 0x61616161) (i32.and (local.get $n) (i32.const 0x0f0f0f0f))))
        (local.set $n (i32.add (local.get $n) (i32.const 1)))
        (br_if $again (i32.eqz ${openForWriting(512, 12)})))))`,
  "grows-a-file": `(module ${PATH_OPEN}
    (import ${WASI} "fd_filestat_set_size" (func $resize (param i32 i64) (result i32)))
    (memory (export "memory") 1)
    (data (i32.const 512) "outputs/big")
    (func (export "_start")
      (drop ${openForWriting(512, 11)})
      (drop (call $resize (i32.load (i32.const 8)) (i64.const 0x7fffffffff)))))`,
  "prints-forever": `(module ${FD_WRITE} ${PROC_EXIT} (memory (export "memory") 2)
    (func (export "_start") (local $n i32)
      (i32.store (i32.const 8) (i32.const 1))
      (i32.store (i32.const 20) (i32.const 65536))
      (loop $again
        (drop (call $fd_write (i32.const 1) (i32.const 16) (i32.const 1) (i32.const 24)))
        (drop (call $fd_write (i32.const 2) (i32.const 16) (i32.const 1) (i32.const 24)))
        (local.set $n (i32.add (local.get $n) (i32.const 1)))
        (br_if $again (i32.lt_u (local.get $n) (i32.const 4096))))
      (call $proc_exit (i32.const 3))))`,
  traps: `(module (memory (export "memory") 1) (func (export "_start") (unreachable)))`,
  "overflows-stack": `(module (memory (export "memory") 1)
    (func $f (export "_start") (call $f) (call $f)))`,
  "exits-nonzero": `(module ${PROC_EXIT} ${FD_WRITE} (memory (export "memory") 1)
    (data (i32.const 512) "The table has no label column.\\0a")
    (func (export "_start")
      (i32.store (i32.const 16) (i32.const 512))
      (i32.store (i32.const 20) (i32.const 31))
      (drop (call $fd_write (i32.const 2) (i32.const 16) (i32.const 1) (i32.const 24)))
      (call $proc_exit (i32.const 7))))`,
  "writes-nothing": `(module (memory (export "memory") 1) (func (export "_start")))`,
  "opens-outside": opensOutside(),
  "overwrites-input": `(module ${PATH_OPEN} ${FD_WRITE} ${PROC_EXIT} (memory (export "memory") 1)
    (data (i32.const 512) "inputs/input-0")
    (data (i32.const 544) "new")
    (data (i32.const 576) "inputs/../args.json")
    (func (export "_start")
      (if (i32.eqz ${openForWriting(512, 14)}) (then (call $proc_exit (i32.const 11))))
      (if (i32.eqz ${openForWriting(544, 3)}) (then (call $proc_exit (i32.const 12))))
      (if (i32.eqz ${openForWriting(576, 19)}) (then (call $proc_exit (i32.const 13))))
      (call $proc_exit (i32.const 10))))`,
  "imports-a-socket": `(module
    (import ${WASI} "sock_send" (func $send (param i32 i32 i32 i32 i32) (result i32)))
    (memory (export "memory") 1)
    (func (export "_start") (drop (call $send (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0)))))`,
  "imports-the-host": `(module (import "env" "process" (func $f)) (memory (export "memory") 1)
    (func (export "_start") (call $f)))`,
  "lacks-start": `(module (memory (export "memory") 1) (func (export "main")))`,
  "two-memories": `(module (memory (export "memory") 1) (memory 1) (func (export "_start")))`,
  "fills-the-heap": `(module (type $a (array (mut i64))) (type $n (struct (field (ref null $n)) (field (ref $a))))
    (memory (export "memory") 1)
    (func (export "_start") (local $list (ref null $n))
      (loop $again
        (local.set $list (struct.new $n (local.get $list) (array.new $a (i64.const 1) (i32.const 100000))))
        (br $again))))`,
};
