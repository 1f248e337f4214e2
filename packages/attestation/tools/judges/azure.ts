import { describeAzureVtpm, parseAzureJson, verify } from "../../src/index.ts";
import { answerOf, readable } from "./answer.ts";
import { pathOf, timeOf, type Judge } from "./entry.ts";
import { authoritiesOf } from "./snp.ts";

/** Azure vTPM evidence in its agents' JSON. The entries name no anchors: the vendors' own roots count. */
export const judgeAzureVtpm: Judge = (entry, load, main) => {
  const bundle = readable(() => parseAzureJson(main ?? load(pathOf(entry, "evidence"))));
  if (bundle === undefined) return { verdict: "reject", fields: {}, codes: ["AZURE_EVIDENCE_MALFORMED"] };
  const { evidence, vcek } = bundle;
  const snp = evidence.tee === "azure-vtpm-snp";
  const parts = snp && vcek !== undefined ? { vcek, authorities: authoritiesOf(entry, load) } : {};
  const verdict = verify(evidence, { tee: evidence.tee, parts }, { nowMs: timeOf(entry) });
  const codes = verdict.ok ? [] : verdict.refusals.map(({ code }) => code);
  const fields = readable(() => describeAzureVtpm(evidence)) ?? {};
  const links = fields["checks"] as Readonly<Record<string, boolean>> | undefined;
  const answer = answerOf(verdict, () => fields, {
    checks: snp
      ? { ...links, snpSignature: !codes.some((code) => code.startsWith("SNP_")) }
      : {
          ...links,
          tdQuoteSignature: !codes.some((code) => code.startsWith("DCAP_") && code !== WITHOUT_COLLATERAL),
          tdReportDataBindsRuntimeData: links?.["runtimeDataBoundToReport"],
        },
  });
  // The entries bring no collateral, so that everything but the platform's TCB can be judged.
  return codes.length === 1 && codes[0] === WITHOUT_COLLATERAL ? { ...answer, verdict: "valid" } : answer;
};

const WITHOUT_COLLATERAL = "DCAP_COLLATERAL_MISSING";
