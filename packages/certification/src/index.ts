export * from "./log/merkle.ts";
export * from "./log/note.ts";
export * from "./reports/types.ts";
