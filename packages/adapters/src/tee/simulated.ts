import {
  createSimulatedPlatform,
  createSimulatedSnpPlatform,
  dcapMeasurement,
  simulatedSnpEvidence,
  simulatedTdxQuote,
  snpMeasurement,
} from "@cloister/attestation";
import {
  concat,
  encodeCanonical,
  hkdfSha256,
  sha384,
  toHex,
  utf8,
  type Digest,
  type Entropy,
  type RecordStore,
  type Tee,
} from "@cloister/core";
import type { LaunchMeasurements } from "./image.ts";
import { checkReportData } from "./report-data.ts";

const PLATFORM_RECORD = "platform-seed";

/** The layouts in which a simulated machine can make evidence. */
export type SimulatedKind = "tdx" | "sev-snp";

/** The two machines that the simulation's vendors make: what differs between them. */
interface Machine {
  readonly sealingSecret: Uint8Array;
  evidence(launch: LaunchMeasurements, reportData: Uint8Array): Uint8Array;
}

const MACHINES: Readonly<Record<SimulatedKind, (seed: Uint8Array, firmware?: number) => Machine>> = {
  tdx: (seed, firmware) => {
    const platform = createSimulatedPlatform(seed, firmware);
    return {
      sealingSecret: platform.sealingSecret,
      evidence: (launch, reportData) => simulatedTdxQuote(platform, { ...launch, reportData }),
    };
  },
  "sev-snp": (seed) => {
    const platform = createSimulatedSnpPlatform(seed);
    return {
      sealingSecret: platform.sealingSecret,
      // As on hardware: the host's certificate table follows the report.
      evidence: (launch, reportData) => {
        const guest = { measurement: launchDigest(launch), reportData };
        return concat(simulatedSnpEvidence(platform, guest).bytes, platform.certificateTable);
      },
    };
  },
};

/**
 * A simulated machine with one CVM on it. Its records hold the seed that stands for the silicon's own
 * secrets; whoever can read them can play this machine, which is why it proves nothing (SECURITY.md).
 */
export class SimulatedTee implements Tee {
  readonly kind: SimulatedKind;
  readonly simulated = true;
  readonly #machine: Machine;
  readonly #launch: LaunchMeasurements;

  private constructor(kind: SimulatedKind, machine: Machine, launch: LaunchMeasurements) {
    this.kind = kind;
    this.#machine = machine;
    this.#launch = launch;
  }

  /**
   * Starts a CVM on the machine whose secrets lie in `records`, which is made on first use. A TDX machine may have
   * been given later firmware than it was made with.
   */
  static async launch(
    records: RecordStore,
    launch: LaunchMeasurements,
    entropy: Entropy,
    kind: SimulatedKind = "tdx",
    firmware?: number,
  ): Promise<SimulatedTee> {
    let seed = await records.read(PLATFORM_RECORD);
    if (seed === undefined) {
      seed = entropy(32);
      await records.write(PLATFORM_RECORD, seed);
    }
    return new SimulatedTee(kind, MACHINES[kind](seed, firmware), launch);
  }

  /** @throws {CloisterError} `TEE_REPORT_DATA_SIZE` */
  async evidence(reportData: Uint8Array): Promise<Uint8Array> {
    checkReportData(reportData);
    return this.#machine.evidence(this.#launch, reportData);
  }

  /** Bound to the platform and to everything measured: other code on the same machine gets another key. */
  async sealingKey(context: string): Promise<Uint8Array> {
    const { mrTd, rtmrs } = this.#launch;
    const info = encodeCanonical(["cloister/sealing/v1", context, mrTd, ...rtmrs]);
    return hkdfSha256(this.#machine.sealingSecret, utf8("sealing"), info, 32);
  }
}

/** SEV-SNP has one register for all that was measured at launch. */
function launchDigest({ mrTd, rtmrs }: LaunchMeasurements): Uint8Array {
  return sha384(concat(mrTd, ...rtmrs));
}

/** The digest under which a simulated CVM of these measurements is approved. */
export function simulatedMeasurement(launch: LaunchMeasurements, kind: SimulatedKind = "tdx"): Digest {
  if (kind === "sev-snp") return snpMeasurement(launchDigest(launch));
  const { mrTd, rtmrs } = launch;
  const [rtmr0, rtmr1, rtmr2, rtmr3] = rtmrs.map(toHex) as [string, string, string, string];
  const none = "00".repeat(48);
  const owner = { mrConfigId: none, mrOwner: none, mrOwnerConfig: none };
  return dcapMeasurement("tdx", { mrTd: toHex(mrTd), rtmr0, rtmr1, rtmr2, rtmr3, ...owner });
}
