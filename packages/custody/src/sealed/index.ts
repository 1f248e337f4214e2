export { armor, unarmor } from "./armor.ts";
export { sealedError, type SealedErrorCode } from "./errors.ts";
export {
  authenticateHeader,
  buildHeader,
  findHeaderEnd,
  headerDigest,
  parseHeader,
  type Header,
  type Stanza,
} from "./header.ts";
export { hybridIdentity, hybridRecipient, type HybridIdentity } from "./hybrid.ts";
export {
  formatIdentityFile,
  parseIdentity,
  parseIdentityFile,
  parseRecipient,
  parseRecipientFile,
  type KeyIdentity,
} from "./keys.ts";
export {
  collect,
  layoutOf,
  open,
  openRange,
  openWithFileKey,
  readHeaderOf,
  readSealed,
  startOpening,
  unwrapFileKey,
  type Layout,
  type RangeSource,
  type SealedReader,
} from "./open.ts";
export { passphraseIdentity, passphraseRecipient } from "./passphrase.ts";
export {
  generateIdentity,
  recipientDigest,
  unwrapX25519,
  x25519Identity,
  x25519Recipient,
  x25519Shares,
  type Identity,
  type Recipient,
  type X25519Identity,
  type X25519Recipient,
} from "./recipients.ts";
export {
  seal,
  startSealing,
  type SealingStart,
  type Flow,
  type ObjectDigests,
  type Sealing,
} from "./seal.ts";
export {
  CHUNK_BYTES,
  chunkNonce,
  openChunk,
  PAYLOAD_NONCE_BYTES,
  SEALED_CHUNK_BYTES,
  type Chunks,
  type OpenedChunk,
} from "./stream.ts";
export type { Aead } from "#primitives";
export { packTar, unpackTar, type TarEntry, type TarLimits, type TarSource } from "./tar.ts";
export { openStoredRange } from "./stored.ts";
