import {
  createSimulatedPlatform,
  dcapMeasurement,
  simulatedTdxQuote,
  type SimulatedPlatform,
} from "@cloister/attestation";
import {
  encodeCanonical,
  hkdfSha256,
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

/**
 * A simulated TDX machine with one TD on it. Its records hold the seed that stands for the silicon's own
 * secrets; whoever can read them can play this machine, which is why it proves nothing (SECURITY.md).
 */
export class SimulatedTee implements Tee {
  readonly kind = "tdx";
  readonly simulated = true;
  readonly #platform: SimulatedPlatform;
  readonly #launch: LaunchMeasurements;

  private constructor(platform: SimulatedPlatform, launch: LaunchMeasurements) {
    this.#platform = platform;
    this.#launch = launch;
  }

  /** Starts a TD on the machine whose secrets lie in `records`, which is made on first use. */
  static async launch(
    records: RecordStore,
    launch: LaunchMeasurements,
    entropy: Entropy,
  ): Promise<SimulatedTee> {
    let seed = await records.read(PLATFORM_RECORD);
    if (seed === undefined) {
      seed = entropy(32);
      await records.write(PLATFORM_RECORD, seed);
    }
    return new SimulatedTee(createSimulatedPlatform(seed), launch);
  }

  /** @throws {CloisterError} `TEE_REPORT_DATA_SIZE` */
  async evidence(reportData: Uint8Array): Promise<Uint8Array> {
    checkReportData(reportData);
    return simulatedTdxQuote(this.#platform, { ...this.#launch, reportData });
  }

  /** Bound to the platform and to everything measured: other code on the same machine gets another key. */
  async sealingKey(context: string): Promise<Uint8Array> {
    const { mrTd, rtmrs } = this.#launch;
    const info = encodeCanonical(["cloister/sealing/v1", context, mrTd, ...rtmrs]);
    return hkdfSha256(this.#platform.sealingSecret, utf8("sealing"), info, 32);
  }
}

/** The digest under which a simulated TD of these measurements is approved. */
export function simulatedMeasurement({ mrTd, rtmrs }: LaunchMeasurements): Digest {
  const [rtmr0, rtmr1, rtmr2, rtmr3] = rtmrs.map(toHex) as [string, string, string, string];
  const none = "00".repeat(48);
  const owner = { mrConfigId: none, mrOwner: none, mrOwnerConfig: none };
  return dcapMeasurement("tdx", { mrTd: toHex(mrTd), rtmr0, rtmr1, rtmr2, rtmr3, ...owner });
}
