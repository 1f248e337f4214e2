import type { Evidence, TeeKind } from "@cloister/attestation";
import { buildCertificate, nameOf, publicKeyFrom, usageExtensions } from "@cloister/attestation";
import { encodeEndorsements, encodeEvidence } from "@cloister/certification";
import {
  CloisterError,
  digestOf,
  ed25519Signer,
  type Clock,
  type Digest,
  type Entropy,
  type RecordStore,
  type Tee,
} from "@cloister/core";
import type { Attester } from "@cloister/workload";
import { loadOrCreateKeys, type CvmKeys } from "./keys.ts";
import { SealedRecords } from "./sealed-records.ts";
import type { Verifier } from "./verifier.ts";

const DAY_MS = 86_400_000;

/** One running CVM: its hardware, its keys, and records that only it can read. */
export interface Cvm {
  readonly tee: Tee;
  readonly keys: CvmKeys;
  readonly sealed: RecordStore;
  readonly sign: (message: Uint8Array) => Uint8Array;
}

/** Starts from the hardware: sealing key, sealed records, keys. */
export async function bootCvm(tee: Tee, records: RecordStore, entropy: Entropy): Promise<Cvm> {
  const sealed = new SealedRecords(records, await tee.sealingKey("records"), entropy);
  const keys = await loadOrCreateKeys(sealed, entropy);
  return { tee, keys, sealed, sign: ed25519Signer(keys.identitySeed) };
}

/** Evidence of this CVM over the given report data. */
export async function evidenceOf({ tee }: Cvm, reportData: Uint8Array): Promise<Evidence> {
  return { tee: tee.kind as TeeKind, bytes: await tee.evidence(reportData) };
}

/** The certificate that a CVM shows on channels. It proves possession of the identity key and nothing else. */
export function selfSignedCertificate({ keys, sign }: Cvm, clock: Clock, entropy: Entropy): Uint8Array {
  const name = nameOf(keys.settlement, "Cloister");
  const nowMs = clock.nowMs();
  return buildCertificate(
    {
      serial: entropy(16),
      issuer: name,
      subject: name,
      notBeforeMs: nowMs - DAY_MS,
      notAfterMs: nowMs + 365 * DAY_MS,
      publicKey: publicKeyFrom("ed25519", keys.identity),
      extensions: usageExtensions({ authority: false }),
    },
    { scheme: { kind: "ed25519" }, sign },
  );
}

/** Asks this CVM's hardware for evidence and judges it as everybody else will. */
export function attesterOf(cvm: Cvm, verifier: Verifier): Attester {
  return {
    attest: async (reportData) => {
      const evidence = await evidenceOf(cvm, reportData);
      const { refusals, claims, endorsements } = await verifier.judge(evidence, reportData);
      const [first, ...rest] = refusals;
      if (first !== undefined) throw CloisterError.fromRefusals([first, ...rest]);
      if (claims === undefined)
        throw new CloisterError("EVIDENCE_MALFORMED", "This CVM's evidence cannot be read.");
      const bytes = encodeEvidence(evidence);
      const endorsementBytes = encodeEndorsements(endorsements);
      return {
        summary: {
          tee: claims.tee,
          evidence: digestOf(bytes),
          endorsements: digestOf(endorsementBytes),
          measurement: claims.measurement,
          tcbStatus: claims.tcb.status,
          simulated: claims.simulated,
        },
        evidence: bytes,
        endorsements: endorsementBytes,
      };
    },
  };
}

/** The measurement of this CVM, as its own evidence shows it. */
export async function measurementOf(cvm: Cvm, verifier: Verifier): Promise<Digest> {
  const reportData = new Uint8Array(64);
  const { claims, refusals } = await verifier.judge(await evidenceOf(cvm, reportData), reportData);
  if (claims !== undefined) return claims.measurement;
  const reason = refusals[0]?.reason ?? "Its evidence cannot be read.";
  throw new CloisterError("EVIDENCE_MALFORMED", `This CVM cannot prove itself: ${reason}`);
}
