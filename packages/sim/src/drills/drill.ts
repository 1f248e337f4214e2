import { COMMITTEE_MAX, nextBelow, seedRandom } from "@cloister/swarm";
import type { Scenario } from "../scenario.ts";
import type { World } from "../world.ts";
import {
  cutHalf,
  flicker,
  keepWatchersOnly,
  loseFirstVotes,
  missAllButNext,
  overtakenResignation,
  pauseLeader,
  restartLeader,
  takeTermsBack,
} from "./elections.ts";
import { askTooLate, repairSideBySide } from "./groups.ts";
import { fallSilentBriefly, refuseEvidence, sendWrongNumber, talkAfterExpulsion } from "./members.ts";
import { leaveInOrder, withholdSettlement } from "./orders.ts";
import { settleDown } from "./steady.ts";
import { runTwin } from "./twin.ts";

/** One thing done on purpose to a swarm that is whole, with a promise of its own to hold it to. */
interface Drill {
  /** What it is counted as. */
  readonly figure: string;
  readonly fits: (scenario: Scenario) => boolean;
  /** How many tickets it has in the draw; those that fit few swarms have more. */
  readonly tickets?: number;
  readonly run: (world: World) => void;
}

const few = ({ voters }: Scenario): boolean => voters <= COMMITTEE_MAX;
const many = ({ voters }: Scenario): boolean => voters > COMMITTEE_MAX;
const spare = ({ nodes }: Scenario): boolean => nodes > 3;

const DRILLS = [
  { figure: "flickers", fits: few, run: flicker },
  { figure: "missedByOthers", fits: (scenario) => few(scenario) && scenario.voters > 4, run: missAllButNext },
  { figure: "leaderPauses", fits: () => true, run: pauseLeader },
  { figure: "lostVotes", fits: few, run: loseFirstVotes },
  { figure: "overtakenResignations", fits: few, run: overtakenResignation },
  { figure: "leaderRestarts", fits: () => true, run: restartLeader },
  {
    figure: "halfCuts",
    fits: (scenario) => few(scenario) && scenario.voters % 2 === 0,
    tickets: 2,
    run: cutHalf,
  },
  { figure: "watchersOnly", fits: many, tickets: 16, run: keepWatchersOnly },
  { figure: "termsTakenBack", fits: few, run: takeTermsBack },
  { figure: "briefSilences", fits: () => true, run: fallSilentBriefly },
  { figure: "refusedEvidence", fits: spare, run: refuseEvidence },
  { figure: "wrongNumbers", fits: () => true, run: sendWrongNumber },
  { figure: "expelledVoices", fits: spare, run: talkAfterExpulsion },
  { figure: "twinMachines", fits: spare, run: runTwin },
  { figure: "lateGoals", fits: spare, run: askTooLate },
  { figure: "sideBySide", fits: ({ nodes }) => nodes >= 6, tickets: 2, run: repairSideBySide },
  { figure: "withheldSettlements", fits: spare, run: withholdSettlement },
  { figure: "handovers", fits: spare, run: leaveInOrder },
] as const satisfies readonly Drill[];

export type DrillFigure = (typeof DRILLS)[number]["figure"];

/** A count of nothing for every drill. */
export function noDrills(): { [Name in DrillFigure]: number } {
  return Object.fromEntries(DRILLS.map(({ figure }) => [figure, 0])) as ReturnType<typeof noDrills>;
}

/** Puts a healed world through the drill that its seed draws. */
export function runDrill(world: World): void {
  const { scenario } = world;
  const drills: readonly (Drill & { readonly figure: DrillFigure })[] = DRILLS;
  const tickets = drills.flatMap((drill) => {
    return drill.fits(scenario) ? Array.from({ length: drill.tickets ?? 1 }, () => drill) : [];
  });
  const drill = tickets[nextBelow(seedRandom(scenario.seed ^ 0xd711), tickets.length)];
  if (drill === undefined) return;
  settleDown(world);
  world.figures[drill.figure]++;
  world.note(world.nodes[0] as World["nodes"][number], "drill", { drill: drill.figure });
  drill.run(world);
}
