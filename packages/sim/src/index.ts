export { SimulatedChain, type ChainState, type Transaction } from "./chain.ts";
export { Checker, InvariantError } from "./checker.ts";
export { noDrills, type DrillFigure } from "./drills/drill.ts";
export { EventQueue } from "./event-queue.ts";
export { noHarm, type HarmFigure } from "./faults.ts";
export { whatIsMissing } from "./liveness.ts";
export { runScenario, runSeed, type RunResult } from "./run.ts";
export {
  drawScenario,
  FAULTS,
  memberRecords,
  nodeIdOf,
  orderIdOf,
  type FaultKind,
  type Scenario,
} from "./scenario.ts";
export { simulatedSignatures } from "./signatures.ts";
export { chronicleOf, storyText, type Chronicle } from "./story/chronicle.ts";
export { runStory, Story, tellStory, type StoryOptions } from "./story/story.ts";
export { readTopology, worldTopology, type Topology } from "./story/topology.ts";
export { timelineHtml } from "./timeline.ts";
export { World, type Core, type RunFigures, type SimNode } from "./world.ts";
