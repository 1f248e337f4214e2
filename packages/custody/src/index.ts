export * from "./consent/index.ts";
export * from "./release/index.ts";
export * from "./sealed/index.ts";
