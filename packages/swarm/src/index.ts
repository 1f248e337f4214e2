export * from "./bounds.ts";
export {
  decodeMessage,
  decodeRecord,
  encodeMessage,
  encodeRecord,
  parseMessage,
  SwarmMessageError,
} from "./codec.ts";
export { committeeOf, directoryOf, quorumOf, type Directory } from "./directory.ts";
export { awaitsChain } from "./election.ts";
export { allocate, goalValue, type Allocation, type AllocateOptions } from "./grouping/allocate.ts";
export { closestGroup, type ClosestGroup } from "./grouping/closest.ts";
export { planGroups } from "./grouping/plan.ts";
export type { GroupingNode, GroupingProblem, Plan } from "./grouping/problem.ts";
export { placeOf, placesMs, type Place } from "./measurement/embedding.ts";
export { LinkBook } from "./measurement/explore.ts";
export { moveCoordinate, originCoordinate, predictRttMs } from "./coordinate.ts";
export type { Body, Coordinate, Envelope, MemberUpdate, Message } from "./messages.ts";
export { hashText, nextBelow, nextFraction, nextWord, seedRandom, type Random } from "./random.ts";
export type { SwarmState } from "./state.ts";
export { init, nextWakeMs, step } from "./step.ts";
export type * from "./types.ts";
export { viewOf } from "./view.ts";
