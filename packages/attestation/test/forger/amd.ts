/**
 * A fake AMD that signs whatever a test wants: every certificate, list and report can be wrong in one respect
 * and genuine in all others. Nothing of it is trusted unless `forgedAmdRoots` is handed to `verify`.
 */
import { concat } from "@cloister/core";
import {
  nameOf,
  pinOf,
  usageExtensions,
  type Endorsements,
  type Evidence,
  type SnpProduct,
  type SnpTcb,
  type TrustRoots,
} from "../../src/index.ts";
import { snpLeafExtensions } from "../../src/evidence/sev-snp/certificate.ts";
import { encodeSnpReport, type SnpReportFields } from "../../src/evidence/sev-snp/encode.ts";
import { forgeCertificate, forgeCrl, type CertificateTwist, type CrlTwist } from "./certificates.ts";
import { forgedKey, type ForgedKey } from "./keys.ts";

const keys = {
  ark: forgedKey("AMD ARK", "P-384"),
  ask: forgedKey("AMD ASK", "P-384"),
  asvk: forgedKey("AMD ASVK", "P-384"),
  leaf: forgedKey("AMD VCEK", "P-384"),
  stranger: forgedKey("a stranger to AMD", "P-384"),
};
export const forgedAmdKeys: Readonly<Record<keyof typeof keys, ForgedKey>> = keys;

export const forgedAmdRoots: TrustRoots = { simulated: false, pins: { amd: [pinOf(keys.ark.publicKey)] } };

/** One forgery: everything left out is genuine. */
export interface AmdForgery {
  readonly product?: SnpProduct;
  readonly report?: Partial<SnpReportFields>;
  readonly reportSignedBy?: ForgedKey;
  /** Applied to the finished report, after its signature. */
  readonly alter?: (report: Uint8Array) => void;
  readonly certificateTcb?: SnpTcb;
  readonly certificateChipId?: Uint8Array;
  readonly leaf?: CertificateTwist;
  readonly intermediate?: CertificateTwist;
  readonly root?: CertificateTwist;
  /** The role of the intermediate that signs the leaf, when it is not the one that fits the key. */
  readonly intermediateRole?: "ASK" | "ASVK";
  readonly withoutIntermediate?: boolean;
  readonly crl?: CrlTwist;
  readonly withoutCrl?: boolean;
}

const TCBS: Readonly<Record<SnpProduct, SnpTcb>> = {
  milan: { bl: 4, tee: 0, snp: 24, ucode: 219 },
  genoa: { bl: 10, tee: 0, snp: 25, ucode: 84 },
  turin: { fmc: 1, bl: 2, tee: 3, snp: 4, ucode: 71 },
};
const CPUIDS = { milan: [0x19, 1, 1], genoa: [0x19, 0x11, 1], turin: [0x1a, 2, 1] } as const;
const SERIALS = { ark: new Uint8Array([1]), intermediate: new Uint8Array([2]), leaf: new Uint8Array([3]) };
export const forgedAmdSerials: Readonly<typeof SERIALS> = SERIALS;

/** Forges evidence and endorsements that `verify` accepts under `forgedAmdRoots`, save for what is twisted. */
export function forgeAmd(forgery: AmdForgery = {}): { evidence: Evidence; endorsements: Endorsements } {
  const product = forgery.product ?? "milan";
  const chip = product === "turin" ? new Uint8Array(8).fill(0xc1) : new Uint8Array(64).fill(0xc1);
  const signingKey = forgery.report?.signingKey ?? "VCEK";
  const fields: SnpReportFields = {
    version: 3,
    product,
    cpuid: CPUIDS[product],
    policy: 0x30000n,
    vmpl: 0,
    signingKey,
    tcb: TCBS[product],
    measurement: new Uint8Array(48).fill(0xaa),
    reportData: new Uint8Array(64).fill(0xdd),
    hostData: new Uint8Array(32),
    chipId: concat(
      signingKey === "VCEK" ? chip : new Uint8Array(chip.length),
      new Uint8Array(64 - chip.length),
    ),
    ...forgery.report,
  };
  const report = encodeSnpReport(fields, (signed) => (forgery.reportSignedBy ?? keys.leaf).sign(signed));
  forgery.alter?.(report);
  return {
    evidence: { tee: "sev-snp", bytes: report },
    endorsements: { tee: "sev-snp", parts: forgeParts(forgery, product, signingKey, chip) },
  };
}

function forgeParts(
  forgery: AmdForgery,
  product: SnpProduct,
  signingKey: "VCEK" | "VLEK",
  chip: Uint8Array,
): Record<string, Uint8Array> {
  const title = product[0]?.toUpperCase() + product.slice(1);
  const role = forgery.intermediateRole ?? (signingKey === "VCEK" ? "ASK" : "ASVK");
  const signer = role === "ASK" ? keys.ask : keys.asvk;
  const arkName = nameOf(`ARK-${title}`, "Forger");
  const signerName = nameOf(role === "ASK" ? `SEV-${title}` : `SEV-VLEK-${title}`, "Forger");
  const identity =
    signingKey === "VCEK"
      ? { hardwareId: forgery.certificateChipId ?? chip }
      : { cspId: "CN=forger.example" };
  const leafExtensions = snpLeafExtensions({
    productName: title,
    tcb: forgery.certificateTcb ?? TCBS[product],
    ...identity,
  });
  const leaf = forgeCertificate(
    {
      serial: SERIALS.leaf,
      subject: nameOf(`SEV-${signingKey}`, "Forger"),
      key: keys.leaf,
      issuer: signerName,
      by: signer,
      extensions: leafExtensions,
    },
    forgery.leaf,
  );
  const intermediate = forgeCertificate(
    {
      serial: SERIALS.intermediate,
      subject: signerName,
      key: signer,
      issuer: arkName,
      by: keys.ark,
      extensions: usageExtensions({ authority: true, pathLengthMax: 0 }),
    },
    forgery.intermediate,
  );
  const root = forgeCertificate(
    {
      serial: SERIALS.ark,
      subject: arkName,
      key: keys.ark,
      issuer: arkName,
      by: keys.ark,
      extensions: usageExtensions({ authority: true, pathLengthMax: 1 }),
    },
    forgery.root,
  );
  return {
    [signingKey === "VCEK" ? "vcek" : "vlek"]: leaf,
    authorities: concat(...(forgery.withoutIntermediate === true ? [] : [intermediate]), root),
    ...(forgery.withoutCrl === true ? {} : { crl: forgeCrl(arkName, keys.ark, forgery.crl) }),
  };
}
