import {
  acceptUnless,
  digestBytes,
  digestOf,
  digestOfDocument,
  type Digest,
  type Refusal,
  type Verdict,
} from "@cloister/core";
import { appraise } from "./appraise.ts";
import { nvidiaNonce } from "./evidence/nvidia/verify.ts";
import type {
  AppraisalPolicy,
  AttestationResult,
  Claims,
  Endorsements,
  Evidence,
  ReferenceValue,
  TrustRoots,
} from "./types.ts";
import { verify } from "./verify.ts";

/** Evidence of a CVM and of the devices that it computes with (RFC 9334 §3.3, composite device). */
export interface CompositeEvidence {
  readonly cpu: Evidence;
  readonly devices: readonly Evidence[];
}

/** Endorsements in the same order. */
export interface CompositeEndorsements {
  readonly cpu: Endorsements;
  readonly devices: readonly Endorsements[];
}

export interface CompositeOptions {
  readonly nowMs: number;
  readonly roots?: TrustRoots | undefined;
  /** What the verifier asked with. Devices must have answered it themselves. */
  readonly challenge: Uint8Array;
  /** The report data that the CPU's evidence must hold, given the binding of the devices' evidence. */
  readonly reportData: (devicesBinding: Uint8Array) => Uint8Array;
}

/** Claims of one machine. Nothing in them was held against a policy. */
export interface CompositeClaims {
  readonly cpu: Claims;
  readonly devices: readonly Claims[];
}

const DEVICES_MAX = 32;

/**
 * The 32 bytes by which the CPU's report data name the devices' evidence. A device answers a challenge wherever
 * it is; that it is this machine's, only the measured software beside it can say, by binding what it received.
 */
export function devicesBinding(devices: readonly Evidence[]): Uint8Array {
  const documents = devices.map(({ tee, bytes, parts }) => ({
    tee,
    bytes: digestOf(bytes),
    parts: Object.fromEntries(Object.entries(parts ?? {}).map(([name, part]) => [name, digestOf(part)])),
  }));
  return digestBytes(digestOfDocument(documents));
}

/**
 * Verifies a CVM and its devices as one: each piece by its own verifier, all against one challenge, and the
 * devices' evidence named by the CPU's. Lists every failed check of every piece. spec/evidence.md §8
 */
export function verifyComposite(
  { cpu, devices }: CompositeEvidence,
  endorsements: CompositeEndorsements,
  options: CompositeOptions,
): Verdict<CompositeClaims> {
  const { nowMs, roots, challenge } = options;
  const refusals: Refusal[] = [];
  if (devices.length > DEVICES_MAX || devices.length !== endorsements.devices.length) {
    const reason = `There are ${devices.length} devices and endorsements for ${endorsements.devices.length}; at most ${DEVICES_MAX} are allowed.`;
    return acceptUnless([{ code: "COMPOSITE_MALFORMED", reason }], unreachable);
  }
  const expected = options.reportData(devicesBinding(devices));
  const cpuVerdict = verify(cpu, endorsements.cpu, { nowMs, roots, challenge: expected });
  if (!cpuVerdict.ok) refusals.push(...cpuVerdict.refusals.map(nameUnbound));
  const claims = devices.flatMap((device, i) => {
    if (device.tee !== "nvidia") {
      refusals.push({
        code: "COMPOSITE_DEVICE_UNKNOWN",
        reason: `Device ${i} is of ${device.tee}, which is no device.`,
      });
      return [];
    }
    const own = { nowMs, roots, challenge: nvidiaNonce(challenge) };
    const verdict = verify(device, endorsements.devices[i] as Endorsements, own);
    if (verdict.ok) return [verdict.value];
    refusals.push(
      ...verdict.refusals.map((refusal) => ({ ...refusal, reason: `Device ${i}: ${refusal.reason}` })),
    );
    return [];
  });
  const ids = claims.map(({ hardwareId }) => hardwareId);
  if (ids.includes("") || new Set(ids).size !== ids.length) {
    refusals.push({
      code: "COMPOSITE_DEVICE_TWICE",
      reason: "One device answers for two, or does not say which it is.",
    });
  }
  return acceptUnless(refusals, () => ({
    cpu: cpuVerdict.ok ? cpuVerdict.value : unreachable(),
    devices: claims,
  }));
}

/** A mismatch of the report data is most often that of the devices: the reader shall hear of both. */
function nameUnbound(refusal: Refusal): Refusal {
  if (refusal.code !== "CHALLENGE_MISMATCH") return refusal;
  return {
    code: "COMPOSITE_UNBOUND",
    reason: "The CPU's evidence does not hold the challenge together with just these devices' evidence.",
    hint: "Collect the devices' evidence in the CVM, for the same challenge, and bind it before asking the CPU.",
  };
}

/** Reference values and policies, for the CPU and for every device. */
export interface CompositePolicy {
  readonly cpu: { readonly referenceValues: readonly ReferenceValue[]; readonly policy: AppraisalPolicy };
  readonly devices: { readonly referenceValues: readonly ReferenceValue[]; readonly policy: AppraisalPolicy };
  /** At least this many devices must have answered. */
  readonly devicesMin?: number;
}

/** One result for a whole machine: affirming only when every piece is. */
export interface CompositeResult {
  readonly status: AttestationResult["status"];
  readonly refusals: readonly Refusal[];
  readonly cpu: AttestationResult;
  readonly devices: readonly AttestationResult[];
  /** Names the measured software and firmware of the whole machine. */
  readonly measurement: Digest;
}

/** Holds the claims of a machine against reference values and policies. Fails closed like `appraise`. */
export function appraiseComposite(
  claims: CompositeClaims,
  { cpu, devices, devicesMin = 0 }: CompositePolicy,
): CompositeResult {
  const cpuResult = appraise(claims.cpu, cpu.referenceValues, cpu.policy);
  const results = claims.devices.map((device) => appraise(device, devices.referenceValues, devices.policy));
  const refusals: Refusal[] = [
    ...cpuResult.refusals,
    ...results.flatMap((result, i) =>
      result.refusals.map((refusal) => ({ ...refusal, reason: `Device ${i}: ${refusal.reason}` })),
    ),
  ];
  if (results.length < devicesMin) {
    refusals.push({
      code: "COMPOSITE_DEVICES_TOO_FEW",
      reason: `${results.length} devices answered; ${devicesMin} are due.`,
    });
  }
  const measurements = claims.devices.map(({ measurement }) => measurement).toSorted();
  return {
    status: refusals.length === 0 ? "affirming" : "contraindicated",
    refusals,
    cpu: cpuResult,
    devices: results,
    measurement: digestOfDocument({ cpu: claims.cpu.measurement, devices: measurements }),
  };
}

function unreachable(): never {
  throw new Error("a refused composite has no claims");
}
