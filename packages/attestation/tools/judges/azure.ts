import { describeAzureVtpm, parseAzureJson, verify, type Endorsements } from "../../src/index.ts";
import { answerOf, readable } from "./answer.ts";
import { endorsementsOf } from "./dcap.ts";
import { pathOf, timeOf, type Judge, type LoadFile, type VectorEntry } from "./entry.ts";
import { authoritiesOf } from "./snp.ts";

/** Azure vTPM evidence in its agents' JSON. The entries name no anchors: the vendors' own roots count. */
export const judgeAzureVtpm: Judge = (entry, load, main) => {
  const bundle = readable(() => parseAzureJson(main ?? load(pathOf(entry, "evidence"))));
  if (bundle === undefined) return { verdict: "reject", fields: {}, codes: ["AZURE_EVIDENCE_MALFORMED"] };
  const { evidence, vcek } = bundle;
  const snp = evidence.tee === "azure-vtpm-snp";
  const parts = snp ? snpParts(entry, load, vcek) : endorsementsOf(entry, "tdx", load).parts;
  const verdict = verify(evidence, { tee: evidence.tee, parts }, { nowMs: timeOf(entry) });
  const codes = verdict.ok ? [] : verdict.refusals.map(({ code }) => code);
  const fields = readable(() => describeAzureVtpm(evidence)) ?? {};
  const links = fields["checks"] as Readonly<Record<string, boolean>> | undefined;
  const answer = answerOf(verdict, () => fields, {
    checks: snp
      ? { ...links, snpSignature: !UNSIGNED_SNP.some((code) => codes.includes(code)) }
      : {
          ...links,
          tdQuoteSignature: !UNSIGNED_TD.some((code) => codes.includes(code)),
          tdReportDataBindsRuntimeData: links?.["runtimeDataBoundToReport"],
        },
  });
  // The entries bring no collateral, so that everything but the platform's TCB can be judged.
  return codes.length === 1 && codes[0] === WITHOUT_COLLATERAL ? { ...answer, verdict: "valid" } : answer;
};

/** The VCEK that came with the evidence, or a file of the entry's. */
function snpParts(
  entry: VectorEntry,
  load: LoadFile,
  embedded: Uint8Array | undefined,
): Endorsements["parts"] {
  const vcek = embedded ?? (entry.files["vcek"] === undefined ? undefined : load(pathOf(entry, "vcek")));
  return vcek === undefined ? {} : { vcek, authorities: authoritiesOf(entry, load) };
}

const UNSIGNED_SNP = [
  ...["SNP_SIGNATURE_INVALID", "SNP_REPORT_MALFORMED", "SNP_CERTIFICATE_MISSING"],
  ...["SNP_CERTIFICATE_MALFORMED", "SNP_CHAIN_MALFORMED", "AZURE_HCL_MALFORMED"],
];
const UNSIGNED_TD = [
  ...["DCAP_QUOTE_MALFORMED", "DCAP_QUOTE_SIGNATURE_INVALID", "DCAP_ATTESTATION_KEY_UNBOUND"],
  ...["DCAP_QE_SIGNATURE_INVALID", "DCAP_PCK_CHAIN_MALFORMED", "AZURE_HCL_MALFORMED"],
];
const WITHOUT_COLLATERAL = "DCAP_COLLATERAL_MISSING";
