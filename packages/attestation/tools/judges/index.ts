import { judgeCcaToken, judgePsaToken } from "./arm.ts";
import { judgeAzureVtpm } from "./azure.ts";
import { judgeDcapQuote } from "./dcap.ts";
import type { Judge } from "./entry.ts";
import { judgeEventLog } from "./event-log.ts";
import { judgeNitroDocument } from "./nitro.ts";
import { judgeNvidiaReport, judgeNvidiaRim } from "./nvidia.ts";
import { judgeSnpLaunchDigest, judgeSnpReport } from "./snp.ts";

/** Every kind of entry that can be judged. An entry of another kind counts as a disagreement, never as skipped. */
export const JUDGES: Readonly<Record<string, Judge>> = {
  "dcap-quote": judgeDcapQuote,
  "snp-report": judgeSnpReport,
  "snp-launch-digest": judgeSnpLaunchDigest,
  "nvidia-gpu-report": judgeNvidiaReport,
  "nvidia-switch-report": judgeNvidiaReport,
  "nvidia-rim": judgeNvidiaRim,
  "cca-token": judgeCcaToken,
  "psa-token": judgePsaToken,
  "azure-hcl-vtpm": judgeAzureVtpm,
  "nitro-attestation-document": judgeNitroDocument,
  "tcg-ccel": judgeEventLog,
};
