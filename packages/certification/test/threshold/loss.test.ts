import { ed25519Verify, toHex, utf8 } from "@cloister/core";
import fc from "fast-check";
import { expect, test } from "vitest";
import {
  decodeKeyShare,
  encodeKeyShare,
  publicKeyOf,
  type CeremonyPlan,
  type KeyShare,
} from "../../src/index.ts";
import { generate, hold, membersOf, names, planFor, sharesOf, signWith } from "./hall.ts";

const message = utf8("a certificate");

/** Who holds which share, how many are needed, and how often the key was handed on. */
interface World {
  readonly shares: ReadonlyMap<string, KeyShare>;
  readonly threshold: number;
  readonly handovers: number;
}

type Step =
  | { readonly kind: "restart" }
  | { readonly kind: "lose"; readonly pick: number }
  | { readonly kind: "hand on"; readonly size: number; readonly slack: number; readonly pick: number };

const steps = fc.oneof(
  fc.constant<Step>({ kind: "restart" }),
  fc.record({ kind: fc.constant("lose" as const), pick: fc.nat() }),
  fc.record({
    kind: fc.constant("hand on" as const),
    size: fc.integer({ min: 2, max: 4 }),
    slack: fc.nat(2),
    pick: fc.nat(),
  }),
);

function restart(world: World): World {
  const shares = [...world.shares].map(
    ([name, share]) => [name, decodeKeyShare(encodeKeyShare(share))] as const,
  );
  return { ...world, shares: new Map(shares) };
}

function lose(world: World, pick: number): World {
  if (world.shares.size <= world.threshold) return world;
  const shares = new Map(world.shares);
  shares.delete([...shares.keys()][pick % shares.size] as string);
  return { ...world, shares };
}

function handOn(world: World, step: Extract<Step, { kind: "hand on" }>): World {
  const holders = [...world.shares];
  const dealers = holders
    .map((_, i) => holders[(i + step.pick) % holders.length] as [string, KeyShare])
    .slice(0, world.threshold);
  const threshold = Math.max(2, step.size - step.slack);
  const people = names(step.size).map((name) => `${name} of ${world.handovers + 1}`);
  const group = (dealers[0] as [string, KeyShare])[1].group;
  const plan: CeremonyPlan = {
    ...planFor(people, threshold, `handover ${world.handovers}`),
    previous: {
      group,
      dealers: dealers.map(([name, { index }]) => ({
        index,
        identity: (membersOf([name])[0] as { identity: Uint8Array }).identity,
      })),
    },
  };
  const everybody = [...people, ...dealers.map(([name]) => name)];
  const shares = sharesOf(
    hold(plan, everybody, { shares: Object.fromEntries(dealers), seed: `${world.handovers}` }),
  );
  return { shares: new Map(Object.entries(shares)), threshold, handovers: world.handovers + 1 };
}

test(
  "no order of losses, restarts and handovers loses the key, and fewer than the threshold never sign",
  { timeout: 60_000 },
  () => {
    const start: World = {
      shares: new Map(Object.entries(generate(names(3), 2, "start"))),
      threshold: 2,
      handovers: 0,
    };
    const key = toHex(publicKeyOf(([...start.shares.values()][0] as KeyShare).group));
    fc.assert(
      fc.property(fc.array(steps, { maxLength: 6 }), (list) => {
        let world = start;
        for (const step of list) {
          if (step.kind === "restart") world = restart(world);
          if (step.kind === "lose") world = lose(world, step.pick);
          if (step.kind === "hand on") world = handOn(world, step);
          const held = [...world.shares.values()];
          const outcome = signWith(held.slice(-world.threshold), message);
          expect(toHex(publicKeyOf((held[0] as KeyShare).group))).toBe(key);
          expect(
            outcome.ok && ed25519Verify(publicKeyOf((held[0] as KeyShare).group), message, outcome.signature),
          ).toBe(true);
          expect(signWith(held.slice(0, world.threshold - 1), message).ok).toBe(false);
        }
      }),
      { numRuns: 20 },
    );
  },
);
