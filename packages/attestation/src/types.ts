import type { Digest, Refusal } from "@cloister/core";

/** Kinds of evidence, by the hardware or service that makes it. */
export type TeeKind =
  | "tdx"
  | "sgx"
  | "sev-snp"
  | "nvidia"
  | "arm-cca"
  | "arm-psa"
  | "azure-vtpm-snp"
  | "azure-vtpm-tdx"
  | "aws-nitro"
  | "tcg-eventlog";

/** Evidence (RFC 9334 §8.1): what an attester made, in the form its hardware gives it. */
export interface Evidence {
  readonly tee: TeeKind;
  readonly bytes: Uint8Array;
  /** Further pieces by name, for kinds that consist of several. */
  readonly parts?: Readonly<Record<string, Uint8Array>>;
}

/** Endorsements (RFC 9334 §8.2): what the vendor says about its hardware, as named byte strings. */
export interface Endorsements {
  readonly tee: TeeKind;
  readonly parts: Readonly<Record<string, Uint8Array>>;
}

/** Trust anchors: SHA-256 of the SubjectPublicKeyInfo of root keys, lower-case hex, per vendor. */
export interface TrustRoots {
  /** True for roots whose private key is public: what rests on them proves nothing about hardware. */
  readonly simulated: boolean;
  readonly pins: Readonly<
    Partial<Record<"intel" | "amd" | "nvidia" | "nvidiaRim" | "aws" | "azure" | "arm", readonly string[]>>
  >;
}

/** Statuses of a trusted computing base: Intel's words, which the other kinds map onto. */
export type TcbStatus =
  | "UpToDate"
  | "SWHardeningNeeded"
  | "ConfigurationNeeded"
  | "ConfigurationAndSWHardeningNeeded"
  | "TDRelaunchAdvised"
  | "TDRelaunchAdvisedConfigurationNeeded"
  | "OutOfDate"
  | "OutOfDateConfigurationNeeded"
  | "Revoked";

export interface VerifyOptions {
  /** The report data that the evidence must hold: 64 bytes for CPU TEEs. Without it no appraisal succeeds. */
  readonly challenge?: Uint8Array | undefined;
  readonly nowMs: number;
  /** Default: the vendors' roots. */
  readonly roots?: TrustRoots | undefined;
}

/** What verified evidence says. Only `verify` makes claims. Nothing in them was held against a policy. */
export interface Claims {
  readonly tee: TeeKind;
  readonly simulated: boolean;
  /** Pin of the root key that the evidence chains up to. */
  readonly rootFingerprint: string;
  readonly challengeVerified: boolean;
  /** False when the endorsements held no revocation lists. */
  readonly revocationChecked: boolean;
  readonly debug: boolean;
  /** One digest that names all that was measured; reference values and the chain's approved list name it. */
  readonly measurement: Digest;
  /** Single measurements by the hardware's own names, lower-case hex. */
  readonly measurements: Readonly<Record<string, string>>;
  readonly reportData: Uint8Array;
  readonly tcb: {
    readonly status: TcbStatus;
    readonly advisoryIds: readonly string[];
    /** SEV-SNP, also inside Azure's evidence: the firmware's versions, for policy to set a minimum on. */
    readonly snp?: SnpTcbClaims;
  };
  /** What tells this machine from others: an Intel PPID, an AMD chip id, … Lower-case hex; may be empty. */
  readonly hardwareId: string;
  /** Everything else that was read, by name. */
  readonly fields: Readonly<Record<string, unknown>>;
}

/** AMD's product lines that sign SNP reports, each with a root key and firmware versions of its own. */
export type SnpProduct = "milan" | "genoa" | "turin";

/** Security versions of an SNP platform: boot loader, TEE, SNP firmware, microcode; only Turin has `fmc`. */
export interface SnpTcb {
  readonly fmc?: number;
  readonly bl: number;
  readonly tee: number;
  readonly snp: number;
  readonly ucode: number;
}

/** The versions that the report's key is for, and those below which the host can no longer go back. */
export interface SnpTcbClaims {
  readonly product: SnpProduct;
  readonly reported: SnpTcb;
  readonly committed: SnpTcb;
}

/** A measurement that is known to be good, and what it is. */
export interface ReferenceValue {
  readonly measurement: Digest;
  readonly name?: string;
}

/** What a relying party accepts. Debug has no switch: it is always refused. */
export interface AppraisalPolicy {
  readonly tees: readonly TeeKind[];
  readonly tcbStatuses: readonly TcbStatus[];
  /** `require` is for networks that run on simulated TEEs only; no policy accepts both worlds. */
  readonly simulated: "refuse" | "require";
  /** Accept evidence whose endorsements held no revocation lists. */
  readonly withoutRevocation?: boolean;
  /**
   * The least firmware versions of SEV-SNP platforms, which the reported *and* the committed TCB must reach.
   * Where there is such a member, a product that it does not name is refused. Other TEEs are not concerned.
   */
  readonly snpTcbMin?: Readonly<Partial<Record<SnpProduct, Partial<SnpTcb>>>>;
}

/** Trustworthiness vector of AR4SI (draft-ietf-rats-ar4si §2.3): 2 affirming, 32 warning, 96 contraindicated, 0 none. */
export interface TrustVector {
  readonly "instance-identity": number;
  readonly configuration: number;
  readonly executables: number;
  readonly hardware: number;
  readonly "runtime-opaque": number;
}

/** An EAT Attestation Result: only `appraise` makes one. */
export interface AttestationResult {
  readonly status: "affirming" | "contraindicated";
  readonly trustVector: TrustVector;
  /** Every failed check. Empty exactly when the status is affirming. */
  readonly refusals: readonly Refusal[];
  readonly claims: Claims;
}
