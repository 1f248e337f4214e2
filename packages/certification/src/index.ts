export * from "./log/merkle.ts";
export * from "./log/note.ts";
export * from "./reports/types.ts";
export * from "./reports/codec.ts";
export * from "./chain/block.ts";
export * from "./chain/rlp.ts";
export * from "./chain/trie.ts";
export * from "./log/entries.ts";
export * from "./log/log.ts";
export * from "./log/tile-reader.ts";
export { tilePath } from "./log/tiles.ts";
export * from "./certificates/cmw.ts";
export * from "./certificates/issue.ts";
export * from "./certificates/statements.ts";
export type * from "./certificates/types.ts";
export * from "./certificates/verify.ts";
export * from "./certificates/authority.ts";
export * from "./chain/layout.ts";
export * from "./proof/file.ts";
export * from "./proof/verify.ts";
export * from "./proof/vouch.ts";
export * from "./proof/assemble.ts";
export * from "./threshold/ceremony.ts";
export {
  type GroupKey,
  type KeyShare,
  decodeKeyShare,
  encodeKeyShare,
  groupKeyDigest,
  publicKeyOf,
} from "./threshold/keys.ts";
export * from "./threshold/signing.ts";
export * from "./certificates/group-authority.ts";
export * from "./log/cose-receipt.ts";
export * from "./log/monitor.ts";
export * from "./log/witness.ts";
export * from "./certificates/revocation.ts";
export * from "./export/lineage.ts";
export { lineageToSvg } from "./export/lineage-svg.ts";
export * from "./export/ml-bom.ts";
export * from "./export/provenance.ts";
