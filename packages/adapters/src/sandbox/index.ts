export type { Isolation } from "./isolation.ts";
export { createWasmSandbox } from "./wasm-process.ts";
