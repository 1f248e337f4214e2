export { openDirectoryRecords } from "./directory.ts";
