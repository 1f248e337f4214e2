export { openIndexStore } from "./open.ts";
