export { openDirectoryStore } from "./directory.ts";
export { openFile, sealFile, type FileOptions } from "./sealed-files.ts";
