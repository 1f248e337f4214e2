export * from "./binding.ts";
export * from "./der.ts";
export * from "./public-key.ts";
export type * from "./types.ts";
export * from "./x509.ts";
export * from "./appraise.ts";
export * from "./roots.ts";
export * from "./verify.ts";
export { simulationRoots } from "./evidence/simulated/authority.ts";
export {
  dcapMeasurement,
  describeDcap,
  parseEnclaveIdentity,
  parseTcbInfo,
  type DcapParts,
} from "./evidence/dcap/index.ts";
export * from "./evidence/simulated/tdx.ts";
export * from "./evidence/sev-snp/certificate-table.ts";
export { describeSevSnp, type SnpParts } from "./evidence/sev-snp/verify.ts";
export * from "./evidence/sev-snp/report.ts";
export * from "./measure/snp.ts";
export { vcpuTypes } from "./measure/vcpu.ts";
export type { Vmm } from "./measure/vmsa.ts";
export {
  describeNvidia,
  nvidiaMeasurement,
  nvidiaNonce,
  type GoldenMatch,
  type NvidiaParts,
} from "./evidence/nvidia/verify.ts";
export {
  describeNvidiaRim,
  parseNvidiaRim,
  verifyNvidiaRim,
  type VerifiedRim,
} from "./evidence/nvidia/rim.ts";
export * from "./describe.ts";
export { checkCcaToken, describeArmCca } from "./evidence/arm-cca/verify.ts";
export { parseCcaToken } from "./evidence/arm-cca/token.ts";
export type { ArmParts } from "./evidence/arm-psa/key.ts";
export { describeArmPsa } from "./evidence/arm-psa/verify.ts";
export { describeAwsNitro, type NitroParts } from "./evidence/aws-nitro/verify.ts";
export { parseAnyPublicKey } from "./evidence/cose.ts";
export { parseAzureJson, type AzureBundle } from "./evidence/azure-vtpm/json.ts";
export { describeAzureVtpm, tpmNonce, type AzureEvidenceParts } from "./evidence/azure-vtpm/verify.ts";
export { describeEventLog } from "./evidence/event-log/verify.ts";
export { measureEventLog, type Rtmrs } from "./measure/event-log.ts";
export * from "./composite.ts";
export * from "./evidence/simulated/snp.ts";
export * from "./ocsp.ts";
export * from "./ear.ts";
export * from "./reference/corim.ts";
export * from "./reference/document.ts";
