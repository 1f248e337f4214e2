/** Simulated SEV-SNP: reports of version 3 in AMD's true layout, under the simulation's root. */
import { concat, ecdsaSign, hkdfSha256, toHex, utf8 } from "@cloister/core";
import type { Endorsements, Evidence } from "../../types.ts";
import { buildCrl, nameOf, usageExtensions } from "../../x509.ts";
import { buildSnpCertificateTable } from "../sev-snp/certificate-table.ts";
import { snpLeafExtensions } from "../sev-snp/certificate.ts";
import { encodeSnpReport } from "../sev-snp/encode.ts";
import type { SnpParts } from "../sev-snp/verify.ts";
import {
  certify,
  keyP384FromSecret,
  ORGANIZATION,
  rootKey,
  simulationKey,
  type SimulationKey,
} from "./authority.ts";

const DAY_MS = 86_400_000;
const TCB = { bl: 10, tee: 0, snp: 25, ucode: 84 };
/** Reserved bit 17, SMT allowed, ABI 0.0. */
const POLICY = 0x30000n;
const POLICY_DEBUG = 1n << 19n;
const CPUID = [0x19, 0x11, 1] as const;

const arkName = nameOf("ARK-Genoa", ORGANIZATION);
const ark = certify("ark", arkName, rootKey.publicKey, {
  by: { key: rootKey, name: arkName },
  extensions: usageExtensions({ authority: true, pathLengthMax: 1 }),
});
const askKey = simulationKey("ASK");
const askName = nameOf("SEV-Genoa", ORGANIZATION);
const ask = certify("ask", askName, askKey.publicKey, {
  by: { key: rootKey, name: arkName },
  extensions: usageExtensions({ authority: true, pathLengthMax: 0 }),
});

/** One simulated SNP machine: its keys follow from a seed that stays on that machine. */
export interface SimulatedSnpPlatform {
  /** 64 bytes. */
  readonly chipId: Uint8Array;
  readonly vcek: SimulationKey;
  /** What a host gives its guests: VCEK, ASK and ARK certificates. */
  readonly certificateTable: Uint8Array;
  /** From which sealing keys are derived; it never leaves the machine. */
  readonly sealingSecret: Uint8Array;
}

/** What the simulated machine measured of a guest when it launched, and what the guest asks to be bound. */
export interface SimulatedSnpGuest {
  /** 48 bytes: the launch digest. */
  readonly measurement: Uint8Array;
  /** 64 bytes. */
  readonly reportData: Uint8Array;
  /** 32 bytes. */
  readonly hostData?: Uint8Array;
  readonly vmpl?: number;
  readonly debug?: boolean;
}

/** Makes the SNP machine that a seed of 32 bytes stands for. */
export function createSimulatedSnpPlatform(seed: Uint8Array): SimulatedSnpPlatform {
  const derive = (what: string, length: number): Uint8Array =>
    hkdfSha256(seed, new Uint8Array(0), utf8(`cloister simulated SNP platform: ${what}`), length);
  const chipId = derive("chip id", 64);
  const vcek = keyP384FromSecret(derive("VCEK", 48));
  const leaf = certify(`vcek ${toHex(chipId)}`, nameOf("SEV-VCEK", ORGANIZATION), vcek.publicKey, {
    by: { key: askKey, name: askName },
    extensions: snpLeafExtensions({ productName: "Genoa", tcb: TCB, hardwareId: chipId }),
  });
  return {
    chipId,
    vcek,
    certificateTable: buildSnpCertificateTable({ vcek: leaf, ask, ark }),
    sealingSecret: derive("sealing", 32),
  };
}

/** Makes evidence over a guest, as the machine's security processor would, with the host's certificates. */
export function simulatedSnpEvidence(platform: SimulatedSnpPlatform, guest: SimulatedSnpGuest): Evidence {
  const bytes = encodeSnpReport(
    {
      version: 3,
      product: "genoa",
      cpuid: CPUID,
      policy: guest.debug === true ? POLICY | POLICY_DEBUG : POLICY,
      vmpl: guest.vmpl ?? 0,
      signingKey: "VCEK",
      tcb: TCB,
      measurement: guest.measurement,
      reportData: guest.reportData,
      hostData: guest.hostData ?? new Uint8Array(32),
      chipId: platform.chipId,
    },
    (signed) => ecdsaSign("P-384", platform.vcek.secret, signed),
  );
  return { tee: "sev-snp", bytes, parts: { auxblob: platform.certificateTable } };
}

/** What the simulation's vendor publishes about its SNP machines on the day of `nowMs`. */
export function simulationSnpEndorsements(nowMs: number): Endorsements {
  const dayMs = Math.floor(nowMs / DAY_MS) * DAY_MS;
  const crl = buildCrl(
    {
      issuer: arkName,
      thisUpdateMs: dayMs - DAY_MS,
      nextUpdateMs: dayMs + 30 * DAY_MS,
      number: dayMs / DAY_MS,
      revoked: [],
    },
    rootKey.issuer,
  );
  const parts: SnpParts = { authorities: concat(ask, ark), crl };
  return { tee: "sev-snp", parts: { ...parts } };
}
