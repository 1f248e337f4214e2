export { openDirectoryStore } from "./directory.ts";
export {
  createReplicatedStore,
  type RepairReport,
  type ReplicatedStore,
  type StoreFault,
} from "./replicated.ts";
export { openFile, sealFile, type FileDigests, type FileOptions } from "./sealed-files.ts";
export { packFolder, unpackFolder } from "./folders.ts";
export { downloadObject, uploadObject, type OnProgress, type ResumableStore } from "./transfers.ts";
export { openS3Store, type S3Options } from "./s3.ts";
