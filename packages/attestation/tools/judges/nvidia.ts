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
import { pathOf, timeOf, type Judge, type LoadFile, type VectorEntry } from "./entry.ts";
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
  const parts = {
    ...Object.fromEntries(rims.map((path, i) => [`rim${i}`, load(path)])),
    ...anchorOf(entry, load),
  };
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
    reportSignature: !REPORT_CODES.some((code) => codes.includes(code)),
    chainLinks: chainLinks(() => readCertificates(chain)),
    measurements: golden && {
      activeGolden: golden.activeGolden,
      mismatchedIndices: golden.mismatchedIndices,
    },
  });
};

/** A signature that does not hold, or of which there is nothing to hold against. */
const SIGNATURE_CODES = [
  ...["NVIDIA_RIM_SIGNATURE_INVALID", "NVIDIA_RIM_MALFORMED", "XML_MALFORMED"],
  ...["XML_SIGNATURE_MALFORMED", "XML_SIGNATURE_UNSUPPORTED"],
];

/** Likewise for reports. */
const REPORT_CODES = [
  ...["NVIDIA_SIGNATURE_INVALID", "NVIDIA_REPORT_MALFORMED"],
  ...["NVIDIA_CHAIN_MALFORMED", "NVIDIA_CHAIN_MISSING"],
];

/** Manifests on their own. */
export const judgeNvidiaRim: Judge = (entry, load, main) => {
  const bytes = main ?? load(pathOf(entry, "rim"));
  const { roots } = rootsOf(entry, "nvidiaRim", load);
  const nowMs = timeOf(entry);
  const verdict = verifyNvidiaRim(bytes, {
    ...{ nowMs, roots: roots ?? vendorRoots },
    ...anchorOf(entry, load),
  });
  const certificates =
    readable(() => findXmlSignature(parseXml(bytes)).certificates.map(parseCertificate)) ?? [];
  const codes = verdict.ok ? [] : verdict.refusals.map(({ code }) => code);
  const judged = verdict.ok
    ? accept({ debug: false, tcb: { status: "UpToDate" as const, advisoryIds: [] } })
    : verdict;
  return answerOf(judged, () => describeNvidiaRim(bytes), {
    xmlSignature: !SIGNATURE_CODES.some((code) => codes.includes(code)),
    chainLinks: chainLinks(() => certificates),
    // Of all that came along, also where the chain is broken below them.
    expiredAtEvaluation: certificates.some((one) => nowMs < one.notBeforeMs || nowMs > one.notAfterMs),
  });
};

/** The anchor itself, for chains that leave it out. */
function anchorOf({ trustAnchor }: VectorEntry, load: LoadFile): { authorities?: Uint8Array } {
  return trustAnchor?.endsWith(".pem") === true ? { authorities: load(trustAnchor) } : {};
}

/** The first certificate that the next one did not sign, in the order in which they came. */
function chainLinks(read: () => readonly Certificate[]): string {
  const chain = readable(read) ?? [];
  const broken = chain.findIndex((certificate, i) => {
    const issuer = chain[i + 1];
    return issuer !== undefined && !verifyCertificateSignature(certificate, issuer.publicKey);
  });
  return broken < 0 ? "ok" : `broken at ${broken}`;
}
