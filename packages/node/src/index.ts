export * from "./keys.ts";
export * from "./ports.ts";
export * from "./sealed-records.ts";
