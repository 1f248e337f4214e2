import { utf8 } from "@cloister/core";
import { decodeCbor } from "../../src/evidence/cbor.ts";
import { parseNvidiaRim } from "../../src/evidence/nvidia/rim.ts";
import {
  buildSnpCertificateTable,
  measureSnpFirmware,
  parseCertificate,
  pemBlocks,
  readSnpCertificateTable,
  verify,
  verifyOcsp,
  type Certificate,
  type Endorsements,
  type Evidence,
  type TrustRoots,
} from "../../src/index.ts";
import { forgeAmd, forgedAmdRoots } from "../forger/amd.ts";
import { forgeCca, forgedArmRoots, forgePsa } from "../forger/arm.ts";
import { FORGED_NOW_MS } from "../forger/intel.ts";
import { forgedNvidiaKeys, forgedNvidiaRoots, forgeNvidia } from "../forger/nvidia.ts";
import { forgeOcsp } from "../forger/ocsp.ts";
import { decoder, type FuzzTarget } from "./target.ts";

interface Forged {
  readonly evidence: Evidence;
  readonly endorsements: Endorsements;
}

/** Targets of everything but Intel's that need no vectors. */
export function forgedDeviceTargets(): FuzzTarget[] {
  const nvidia = forgeNvidia();
  const chain = pemBlocks(new TextDecoder().decode(nvidia.evidence.parts?.["chain"]));
  const [, certificate, issuer] = chain.map(parseCertificate) as [Certificate, Certificate, Certificate];
  const ocsp = forgeOcsp({ certificate, issuer, signedBy: forgedNvidiaKeys.root });
  return [
    ...verifier(
      "snp-report",
      [forgeAmd(), forgeAmd({ product: "turin" }), forgeAmd({ report: { signingKey: "VLEK" } })],
      forgedAmdRoots,
    ),
    ...verifier("nvidia-report", [nvidia], forgedNvidiaRoots),
    ...verifier(
      "arm-tokens",
      [forgePsa(), forgePsa({ certified: true }), forgeCca()],
      forgedArmRoots,
      withoutSign1Tag,
    ),
    decoder("nvidia-manifest", parseNvidiaRim, [nvidia.endorsements.parts["rimDriver"] as Uint8Array]),
    decoder("cbor", decodeCbor, [
      forgeCca().evidence.bytes,
      new Uint8Array([0xbf, 0x9f, 0x5f, 0x41, 0, 0xff, 0xff, 0, 0xff]),
    ]),
    decoder("firmware image", measureSnpFirmware, [firmware()]),
    decoder("certificate table", readSnpCertificateTable, [
      buildSnpCertificateTable({ vcek: new Uint8Array(40), ask: new Uint8Array(30) }),
    ]),
    decoder("ocsp", (bytes) => verifyOcsp(bytes, { certificate, issuer, nowMs: FORGED_NOW_MS }), [ocsp]),
  ];
}

/** Two targets for each kind: the evidence, which is signed, and the parts around it, which need not be. */
function verifier(
  name: string,
  forgeries: readonly Forged[],
  roots: TrustRoots,
  signed = (bytes: Uint8Array) => bytes,
): FuzzTarget[] {
  const options = { nowMs: FORGED_NOW_MS, roots };
  const parts = forgeries.flatMap((forged) =>
    Object.keys(forged.endorsements.parts).map((part) => ({ forged, part })),
  );
  return [
    {
      name: `${name} (forged)`,
      seeds: forgeries.map(({ evidence }) => evidence.bytes),
      run: (bytes, seed) => {
        const { evidence, endorsements } = forgeries[seed] as Forged;
        const verdict = verify({ ...evidence, bytes }, endorsements, options);
        const changed = signed(bytes);
        const same = signed(evidence.bytes).every((byte, i) => changed[i] === byte);
        if (verdict.ok && !same) throw new Error(`changed evidence was accepted: ${name}`);
      },
    },
    {
      name: `${name} endorsements (forged)`,
      seeds: parts.map(({ forged, part }) => forged.endorsements.parts[part] as Uint8Array),
      run: (bytes, seed) => {
        const { forged, part } = parts[seed] as (typeof parts)[number];
        const { tee } = forged.endorsements;
        verify(forged.evidence, { tee, parts: { ...forged.endorsements.parts, [part]: bytes } }, options);
      },
    },
  ];
}

/** COSE_Sign1 is the same message with and without its tag (RFC 9052 §4.2), and no signature covers it. */
function withoutSign1Tag(bytes: Uint8Array): Uint8Array {
  return bytes[0] === 0xd2 ? bytes.subarray(1) : bytes;
}

/** A page that ends like OVMF's, with one entry of the table. */
function firmware(): Uint8Array {
  const image = new Uint8Array(4096);
  const guid = [
    0xde, 0x82, 0xb5, 0x96, 0xb2, 0x1f, 0xf7, 0x45, 0xba, 0xea, 0xa3, 0x66, 0xc5, 0x5a, 0x08, 0x2d,
  ];
  image.set([18 + 22, 0, ...guid], 4096 - 32 - 18);
  image.set([22, 0, ...utf8("some guid, 16 by")], 4096 - 32 - 18 - 18);
  return image;
}
