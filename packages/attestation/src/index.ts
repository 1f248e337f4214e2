export * from "./binding.ts";
export * from "./der.ts";
export * from "./public-key.ts";
export type * from "./types.ts";
export * from "./x509.ts";
export * from "./appraise.ts";
export * from "./roots.ts";
export * from "./verify.ts";
