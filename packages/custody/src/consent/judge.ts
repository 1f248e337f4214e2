import { formatBytes, type Refusal } from "@cloister/core";
import { recipientDigest } from "../sealed/recipients.ts";
import { TIME_MS_MAX, type ConsentPolicy, type PlannedUse } from "./policy.ts";

type Check = (policy: ConsentPolicy, planned: PlannedUse) => Refusal | undefined;

/**
 * Holds a planned use against a policy and gives every check that failed; an empty list is consent.
 * The same function serves the owner's dry run, the loader and each key-release node.
 * spec/consent.md §4, which lists the codes.
 */
export function judgeConsent(policy: ConsentPolicy, planned: PlannedUse): Refusal[] {
  return CHECKS.map((check) => check(policy, planned)).filter((refusal) => refusal !== undefined);
}

/** Tells in plain sentences what a policy allows. */
export function explainConsent(policy: ConsentPolicy): string[] {
  const either = (items: readonly string[] | undefined, any: string) => items?.join(", ") ?? any;
  return [
    `Engines that may read the object: ${policy.engines.join(", ")}.`,
    `Purposes: ${policy.purposes.join(", ")}.`,
    `At most ${policy.runsMax} ${policy.runsMax === 1 ? "run" : "runs"}.`,
    policy.expiresAtMs === undefined
      ? "It has no end; it can be revoked."
      : `Until ${timeText(policy.expiresAtMs)}.`,
    `Outputs: at most ${formatBytes(policy.outputBytesMax)} in all, sealed to ${either(policy.recipients, "whom the order names")}.`,
    policy.egress === "none"
      ? "The engine has no network."
      : `The engine may connect to ${policy.egress.join(", ")}.`,
    `Hardware: ${either(policy.tees, "any the key-release group accepts")}; measurements: ${either(policy.measurements, "any that is approved")}.`,
    `Nodes: ${either(policy.nodes, "any that qualifies")}.`,
    policy.market === undefined
      ? "It counts on any market it is published on."
      : `It counts on chain ${policy.market.chainId}, contract ${policy.market.contract} only.`,
  ];
}

/** One member that differs between two policies; absent values are undefined. */
export interface ConsentChange {
  readonly member: string;
  readonly before: unknown;
  readonly after: unknown;
  /** Whether the new policy allows what the old one did not, the reverse, or both. */
  readonly effect: "wider" | "narrower" | "different";
}

/** Lists what a new policy changes. */
export function diffConsent(before: ConsentPolicy, after: ConsentPolicy): ConsentChange[] {
  const names = [...new Set([...Object.keys(before), ...Object.keys(after)])].toSorted();
  return names.flatMap((member) => {
    const [old, now] = [memberOf(before, member), memberOf(after, member)];
    if (JSON.stringify(old) === JSON.stringify(now)) return [];
    return [{ member, before: old, after: now, effect: effectOf(old, now) }];
  });
}

function memberOf(policy: ConsentPolicy, name: string): unknown {
  return (policy as unknown as Record<string, unknown>)[name];
}

/** An absent limit allows everything, so that giving one narrows. */
function effectOf(before: unknown, after: unknown): ConsentChange["effect"] {
  if (before === undefined) return "narrower";
  if (after === undefined) return "wider";
  if (typeof before === "number" && typeof after === "number") return after > before ? "wider" : "narrower";
  if (before === "none") return "wider";
  if (after === "none") return "narrower";
  if (!Array.isArray(before) || !Array.isArray(after)) return "different";
  if (before.every((item) => after.includes(item))) return "wider";
  return after.every((item) => before.includes(item)) ? "narrower" : "different";
}

const CHECKS: readonly Check[] = [
  ({ engines }, { engine }) =>
    unless(engines.includes(engine), {
      code: "CONSENT_ENGINE_NOT_LISTED",
      reason: `The consent does not list the engine ${engine}.`,
      hint: "Order an engine the owner listed, or ask the owner to consent to this one.",
    }),
  ({ purposes }, { purpose }) =>
    unless(purposes.includes(purpose), {
      code: "CONSENT_PURPOSE_NOT_LISTED",
      reason: `The consent does not list the purpose "${purpose}"; it lists ${purposes.join(", ")}.`,
    }),
  ({ runsMax }, { runsUsed }) =>
    unless(runsUsed < runsMax, {
      code: "CONSENT_RUNS_EXHAUSTED",
      reason: `The consent allows ${runsMax} runs and ${runsUsed} were used.`,
      hint: "Ask the owner for a new consent.",
    }),
  ({ expiresAtMs }, { nowMs }) =>
    unless(expiresAtMs === undefined || nowMs <= expiresAtMs, {
      code: "CONSENT_EXPIRED",
      reason: `The consent ended at ${timeText(expiresAtMs)}; it is ${timeText(nowMs)}.`,
      hint: "Ask the owner for a new consent.",
    }),
  (_, { revokedAtMs, nowMs }) =>
    unless(revokedAtMs === undefined || nowMs < revokedAtMs, {
      code: "CONSENT_REVOKED",
      reason: `The owner revoked the consent with effect from ${timeText(revokedAtMs)}.`,
    }),
  ({ outputBytesMax }, planned) =>
    unless(planned.outputBytesMax <= outputBytesMax, {
      code: "CONSENT_OUTPUT_TOO_LARGE",
      reason: `Outputs may take ${planned.outputBytesMax} bytes; the consent allows ${outputBytesMax}.`,
    }),
  ({ recipients }, planned) =>
    unless(recipients === undefined || recipients.map(recipientDigest).includes(planned.recipientDigest), {
      code: "CONSENT_RECIPIENT_NOT_LISTED",
      reason: `The consent does not list the result's recipient (${planned.recipientDigest}).`,
    }),
  ({ egress }, planned) =>
    unless(egressWithin(planned.egress, egress), {
      code: "CONSENT_EGRESS_NOT_ALLOWED",
      reason: `The engine may connect to ${[planned.egress].flat().join(", ")}; the consent allows ${[egress].flat().join(", ")}.`,
    }),
  ({ tees }, { tee }) =>
    unless(tees === undefined || tees.includes(tee), {
      code: "CONSENT_TEE_NOT_LISTED",
      reason: `The node's TEE is ${tee}; the consent allows ${tees?.join(", ")}.`,
    }),
  ({ measurements }, { measurement }) =>
    unless(measurements === undefined || measurements.includes(measurement), {
      code: "CONSENT_MEASUREMENT_NOT_LISTED",
      reason: `The consent does not list the measurement ${measurement}.`,
    }),
  ({ nodes }, { node }) =>
    unless(nodes === undefined || nodes.includes(node), {
      code: "CONSENT_NODE_NOT_LISTED",
      reason: `The consent is a direct grant and does not name the node ${node}.`,
    }),
  ({ market }, planned) =>
    unless(
      market === undefined ||
        (market.chainId === planned.market.chainId && market.contract === planned.market.contract),
      {
        code: "CONSENT_OTHER_MARKET",
        reason: `The consent counts on chain ${market?.chainId}, contract ${market?.contract} only.`,
      },
    ),
];

function unless(holds: boolean, refusal: Refusal): Refusal | undefined {
  return holds ? undefined : refusal;
}

function egressWithin(planned: PlannedUse["egress"], allowed: ConsentPolicy["egress"]): boolean {
  if (planned === "none") return true;
  return allowed !== "none" && planned.every((host) => allowed.includes(host));
}

function timeText(timeMs: number | undefined): string {
  if (timeMs === undefined) return "no time";
  return timeMs <= TIME_MS_MAX ? new Date(timeMs).toISOString() : `${timeMs} ms`;
}
