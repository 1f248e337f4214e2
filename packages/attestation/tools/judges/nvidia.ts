import { accept } from "@cloister/core";
import { findXmlSignature } from "../../src/evidence/nvidia/xml-signature.ts";
import { parseXml } from "../../src/evidence/nvidia/xml.ts";
import { readCertificates } from "../../src/evidence/path.ts";
import {
  describeNvidia,
  describeNvidiaRim,
  parseCertificate,
  vendorRoots,
  verify,
  verifyCertificateSignature,
  verifyNvidiaRim,
  type Certificate,
  type Endorsements,
  type Evidence,
  type GoldenMatch,
} from "../../src/index.ts";
import { answerOf, readable } from "./answer.ts";
import { pathOf, timeOf, type Judge } from "./entry.ts";
import { rootsOf } from "./snp.ts";

/** Reports of GPUs and switches, with manifests where the entry has any. */
export const judgeNvidiaReport: Judge = (entry, load, main) => {
  const chain = load(pathOf(entry, "chain"));
  const evidence: Evidence = {
    tee: "nvidia",
    bytes: main ?? load(pathOf(entry, "report")),
    parts: { chain },
  };
  const rims = [entry.files["rims"] ?? []].flat();
  const parts = Object.fromEntries(rims.map((path, i) => [`rim${i}`, load(path)]));
  const endorsements: Endorsements = { tee: "nvidia", parts };
  const anchored = rootsOf(entry, "nvidia", load).roots;
  // The entry's anchor is the devices'; manifests have a root of their own.
  const roots = anchored && {
    ...anchored,
    pins: { nvidiaRim: vendorRoots.pins.nvidiaRim ?? [], ...anchored.pins },
  };
  const verdict = verify(evidence, endorsements, { nowMs: timeOf(entry), ...(roots && { roots }) });
  const codes = verdict.ok ? [] : verdict.refusals.map(({ code }) => code);
  const fields = readable(() => describeNvidia(evidence, endorsements)) ?? {};
  const golden = fields["golden"] as GoldenMatch | undefined;
  return answerOf(verdict, () => fields, {
    reportSignature: !codes.includes("NVIDIA_SIGNATURE_INVALID"),
    chainLinks: chainLinks(() => readCertificates(chain)),
    measurements: golden && {
      activeGolden: golden.activeGolden,
      mismatchedIndices: golden.mismatchedIndices,
    },
  });
};

/** Manifests on their own. */
export const judgeNvidiaRim: Judge = (entry, load) => {
  const bytes = load(pathOf(entry, "rim"));
  const { roots } = rootsOf(entry, "nvidiaRim", load);
  const verdict = verifyNvidiaRim(bytes, { nowMs: timeOf(entry), roots: roots ?? vendorRoots });
  const codes = verdict.ok ? [] : verdict.refusals.map(({ code }) => code);
  const judged = verdict.ok
    ? accept({ debug: false, tcb: { status: "UpToDate" as const, advisoryIds: [] } })
    : verdict;
  return answerOf(judged, () => describeNvidiaRim(bytes), {
    xmlSignature: !codes.includes("NVIDIA_RIM_SIGNATURE_INVALID"),
    chainLinks: chainLinks(() => findXmlSignature(parseXml(bytes)).certificates.map(parseCertificate)),
    expiredAtEvaluation: codes.includes("NVIDIA_RIM_CHAIN_EXPIRED"),
  });
};

/** The first certificate that the next one did not sign, in the order in which they came. */
function chainLinks(read: () => readonly Certificate[]): string {
  const chain = readable(read) ?? [];
  const broken = chain.findIndex((certificate, i) => {
    const issuer = chain[i + 1];
    return issuer !== undefined && !verifyCertificateSignature(certificate, issuer.publicKey);
  });
  return broken < 0 ? "ok" : `broken at ${broken}`;
}
