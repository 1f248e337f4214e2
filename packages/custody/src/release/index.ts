export {
  ceremonyId,
  checkPlan,
  dealersOf,
  decodePlan,
  encodePlan,
  planWithout,
  type CeremonyPlan,
  type Fault,
} from "./ceremony/plan.ts";
export {
  createCeremony,
  encodeCeremony,
  restoreCeremony,
  shareOf,
  stepCeremony,
  type Ceremony,
  type CeremonyEffect,
  type CeremonyInput,
  type CeremonyKeys,
  type CeremonyStep,
  type Outcome,
} from "./ceremony/step.ts";
export {
  decodeGroupKey,
  decodeGroupShare,
  encodeGroupKey,
  encodeGroupShare,
  groupDigest,
  groupPublicKey,
} from "./group.ts";
export { hpkeOpen, hpkeSeal } from "./hpke.ts";
export { groupRecipient, readOwned, type OwnedStanza } from "./owner.ts";
export { combinePartials, makePartial, unwrapPartial, wrapPartial } from "./partial.ts";
export type { GroupKey, GroupMember, GroupShare, PartialContext, PartialKey } from "./types.ts";
export {
  judgeRelease,
  releaseReportData,
  type Release,
  type ReleaseFacts,
  type ReleaseRequest,
} from "./judge.ts";
export { createRing, groupOf, withGroup, withoutGroup, type GroupRing } from "./ring.ts";
