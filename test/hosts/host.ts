/**
 * One CVM of a fleet: the program that `cloister node run` runs, in a process whose clock and whose way to
 * each peer the fleet decides. Leaves when the fleet's end of its standard input closes.
 */
import { existsSync, readFileSync } from "node:fs";
import type { Cbor } from "@cloister/core";
import type { Channel, Transport } from "@cloister/node";
import { leaveWithParent, runCvm } from "../../apps/cli/src/network/cvm-process.ts";

/** What a fleet bends for one host. */
export interface HostPlan {
  readonly configFile: string;
  /** How far this host's clock is from the true one. */
  readonly clockOffsetMs: number;
  /** Where to dial instead, by endpoint. */
  readonly routes: Readonly<Record<string, string>>;
  /** Sends its peers, whose channels it holds by right, far more than anybody may. */
  readonly floods: boolean;
  /** The firmware of its simulated machine. */
  readonly firmware: number;
  /** Holds the oldest firmware that the simulated vendor still calls up to date; absent: the first. */
  readonly vendorFile: string;
}

const FLOOD_AFTER_MS = 20_000;
const FLOOD_EVERY_MS = 10;
const FLOOD_NOTICES = 30;

const plan = JSON.parse(readFileSync(process.argv[2] as string, "utf8")) as HostPlan;
leaveWithParent();
await runCvm(plan.configFile, {
  clock: { nowMs: () => Date.now() + plan.clockOffsetMs },
  wrap: (transport) => routed(transport),
  firmware: plan.firmware,
  firmwareMin: () => (existsSync(plan.vendorFile) ? Number(readFileSync(plan.vendorFile, "utf8")) : 1),
});

function routed(transport: Transport): Transport {
  return {
    connect: async (endpoint, expected) => {
      const channel = await transport.connect(plan.routes[endpoint] ?? endpoint, expected);
      if (plan.floods && endpoint in plan.routes) flood(channel);
      return channel;
    },
    reattest: (why) => transport.reattest(why),
    view: () => transport.view(),
    close: () => transport.close(),
  };
}

function flood(channel: Channel): void {
  const notices = [null, "swarm", { kind: "ping" }, [1, 2, 3]];
  const start = setTimeout(() => {
    const timer = setInterval(() => {
      for (let i = 0; i < FLOOD_NOTICES; i++) channel.notify("swarm", notices[i % notices.length] as Cbor);
    }, FLOOD_EVERY_MS);
    void channel.closed.then(() => clearInterval(timer));
  }, FLOOD_AFTER_MS);
  void channel.closed.then(() => clearTimeout(start));
}
