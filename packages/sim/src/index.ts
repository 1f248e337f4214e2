export { SimulatedChain, type ChainState, type Transaction } from "./chain.ts";
export { Checker, InvariantError } from "./checker.ts";
export { EventQueue } from "./event-queue.ts";
export { runScenario, runSeed, whatIsMissing, type RunResult } from "./run.ts";
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
export { World, type RunFigures, type SimNode } from "./world.ts";
