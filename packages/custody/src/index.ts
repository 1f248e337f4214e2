export * from "./consent/index.ts";
export type { GroupKey, GroupMember, GroupShare, PartialContext, PartialKey } from "./release/types.ts";
export * from "./sealed/index.ts";
