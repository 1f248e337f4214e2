import { judgeDcapQuote } from "./dcap.ts";
import type { Judge } from "./entry.ts";

/** Every kind of entry that can be judged. An entry of another kind counts as a disagreement, never as skipped. */
export const JUDGES: Readonly<Record<string, Judge>> = {
  "dcap-quote": judgeDcapQuote,
};
