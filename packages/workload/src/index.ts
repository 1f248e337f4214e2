export * from "./cancellation.ts";
export * from "./engine-module.ts";
export * from "./sandbox.ts";
