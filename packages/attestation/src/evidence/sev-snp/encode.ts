import { assertInvariant, concat } from "@cloister/core";
import type { SnpProduct, SnpTcb } from "../../types.ts";
import { SNP_REPORT_BYTES } from "./report.ts";

/** What goes into a report that is made here: by the simulated machine, or by a test. */
export interface SnpReportFields {
  readonly version: number;
  readonly product: SnpProduct;
  /** Family, model, stepping. */
  readonly cpuid: readonly [number, number, number];
  readonly policy: bigint;
  readonly vmpl: number;
  readonly signingKey: "VCEK" | "VLEK";
  readonly tcb: SnpTcb;
  /** Default: `tcb`, as on a host that commits what it runs. */
  readonly committedTcb?: SnpTcb;
  /** 48 bytes. */
  readonly measurement: Uint8Array;
  /** 64 bytes. */
  readonly reportData: Uint8Array;
  /** 32 bytes. */
  readonly hostData: Uint8Array;
  /** 64 bytes; 8 and zeros on Turin. */
  readonly chipId: Uint8Array;
}

/** Writes a report in AMD's layout and has it signed; `sign` gives r and s, big-endian, 48 bytes each. */
export function encodeSnpReport(
  fields: SnpReportFields,
  sign: (signed: Uint8Array) => Uint8Array,
): Uint8Array {
  const report = new Uint8Array(SNP_REPORT_BYTES);
  const view = new DataView(report.buffer);
  const tcb = encodeSnpTcb(fields.tcb, fields.product);
  view.setUint32(0x00, fields.version, true);
  view.setBigUint64(0x08, fields.policy, true);
  view.setUint32(0x30, fields.vmpl, true);
  view.setUint32(0x34, 1, true);
  view.setUint32(0x48, fields.signingKey === "VLEK" ? 1 << 2 : 0, true);
  for (const at of [0x38, 0x180, 0x1f0]) report.set(tcb, at);
  report.set(encodeSnpTcb(fields.committedTcb ?? fields.tcb, fields.product), 0x1e0);
  report.set(fields.reportData, 0x50);
  report.set(fields.measurement, 0x90);
  report.set(fields.hostData, 0xc0);
  report.set(new Uint8Array(32).fill(0xff), 0x160);
  if (fields.version >= 3) report.set(fields.cpuid, 0x188);
  report.set(fields.chipId, 0x1a0);
  const signature = sign(report.subarray(0, 0x2a0));
  assertInvariant(signature.length === 96, "an SNP report is signed with P-384");
  const number = (half: Uint8Array): Uint8Array => concat(half.toReversed(), new Uint8Array(24));
  report.set(concat(number(signature.subarray(0, 48)), number(signature.subarray(48))), 0x2a0);
  return report;
}

/** Writes the eight bytes of a TCB version in the product's order. */
export function encodeSnpTcb(tcb: SnpTcb, product: SnpProduct): Uint8Array {
  return new Uint8Array(
    product === "turin"
      ? [tcb.fmc ?? 0, tcb.bl, tcb.tee, tcb.snp, 0, 0, 0, tcb.ucode]
      : [tcb.bl, tcb.tee, 0, 0, 0, 0, tcb.snp, tcb.ucode],
  );
}
