import { ed25519PublicKey, ed25519Signer, sha256, toHex, utf8, type Entropy } from "@cloister/core";
import {
  combineShares,
  KeyCeremony,
  SigningRound,
  type CeremonyMember,
  type CeremonyMessage,
  type CeremonyOutcome,
  type CeremonyPlan,
  type KeyShare,
} from "../../src/index.ts";

/** Entropy that follows from a text, so that a failing run can be run again. */
export function entropyFrom(seed: string): Entropy {
  let drawn = 0;
  return (length) => {
    const blocks = Array.from({ length: Math.ceil(length / 32) }, () => sha256(utf8(`${seed} ${drawn++}`)));
    return new Uint8Array(Buffer.concat(blocks).subarray(0, length));
  };
}

export const identitySeed = (name: string): Uint8Array => sha256(utf8(`identity ${name}`));
export const identityOf = (name: string): Uint8Array => ed25519PublicKey(identitySeed(name));
export const membersOf = (names: readonly string[]): CeremonyMember[] =>
  names.map((name, i) => ({ index: i + 1, identity: identityOf(name) }));
export const names = (count: number): string[] => Array.from({ length: count }, (_, i) => `m${i + 1}`);

export function planFor(people: readonly string[], threshold: number, nonce = "nonce"): CeremonyPlan {
  return { nonce: sha256(utf8(nonce)), threshold, members: membersOf(people) };
}

/** What happens to a message on its way: it may be changed, dropped (undefined) or multiplied. */
export type Wire = (message: CeremonyMessage, from: string, to: string) => readonly Uint8Array[] | undefined;

/** Holds a ceremony in one room and gives every participant's outcome. `shuffle` picks who is heard next. */
export function hold(
  plan: CeremonyPlan,
  people: readonly string[],
  options: {
    readonly shares?: Readonly<Record<string, KeyShare>>;
    readonly wire?: Wire;
    readonly shuffle?: (size: number) => number;
    readonly seed?: string;
  } = {},
): Record<string, CeremonyOutcome> {
  const wire = options.wire ?? ((message) => [message.bytes]);
  const sides = new Map(
    people.map((name) => {
      const self = {
        identity: identityOf(name),
        sign: ed25519Signer(identitySeed(name)),
        share: options.shares?.[name],
      };
      return [name, new KeyCeremony(plan, self, entropyFrom(`${options.seed ?? ""} ${name}`))] as const;
    }),
  );
  const queue: { to: string; bytes: Uint8Array }[] = [];
  const collect = (): void => {
    for (const [from, side] of sides) {
      for (const message of side.takeOutbox()) {
        const receivers = people.filter(
          (to) => message.to === undefined || toHex(message.to) === toHex(identityOf(to)),
        );
        for (const to of receivers.filter((name) => name !== from)) {
          for (const bytes of wire(message, from, to) ?? []) queue.push({ to, bytes });
        }
      }
    }
  };
  for (collect(); queue.length > 0; collect()) {
    const [next] = queue.splice(options.shuffle?.(queue.length) ?? 0, 1);
    if (next === undefined) continue;
    try {
      sides.get(next.to)?.receive(next.bytes);
    } catch (error) {
      if ((error as { code?: string }).code !== "CEREMONY_MESSAGE_MALFORMED") throw error;
    }
  }
  return Object.fromEntries([...sides].map(([name, side]) => [name, side.outcome ?? side.expire()]));
}

/** Generates a key among people and gives everybody's share. */
export function generate(
  people: readonly string[],
  threshold: number,
  seed = "seed",
): Record<string, KeyShare> {
  return sharesOf(hold(planFor(people, threshold, seed), people, { seed }));
}

export function sharesOf(outcomes: Readonly<Record<string, CeremonyOutcome>>): Record<string, KeyShare> {
  const shares: Record<string, KeyShare> = {};
  for (const [name, outcome] of Object.entries(outcomes)) {
    if (outcome.kind === "failed") throw new Error(`${name}: ${JSON.stringify(outcome.culprits)}`);
    if (outcome.share !== undefined) shares[name] = outcome.share;
  }
  return shares;
}

/** Signs with these shares. */
export function signWith(shares: readonly KeyShare[], message: Uint8Array, seed = "signing") {
  const rounds = shares.map((share) => new SigningRound(share, entropyFrom(`${seed} ${share.index}`)));
  const commitments = rounds.map(({ commitment }) => commitment);
  const parts = rounds.flatMap((round) => round.sign(commitments, message) ?? []);
  return combineShares((shares[0] as KeyShare).group, commitments, message, parts);
}
