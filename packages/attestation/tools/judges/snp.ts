import { codeOf, concat, fromHex, fromUtf8, toHex, utf8 } from "@cloister/core";
import {
  describeSevSnp,
  measureSnp,
  parsePemChain,
  pinOf,
  verify,
  type TrustRoots,
} from "../../src/index.ts";

import { answerOf, readable } from "./answer.ts";
import { pathOf, timeOf, type Judge, type LoadFile, type VectorEntry } from "./entry.ts";

/** SEV-SNP reports with their VCEK or VLEK, under the chain that the entry names. */
export const judgeSnpReport: Judge = (entry, load, main) => {
  const evidence = { tee: "sev-snp", bytes: main ?? load(pathOf(entry, "report")) } as const;
  const crls = Object.keys(entry.files).filter((name) => name.toLowerCase().includes("crl"));
  const parts: Record<string, Uint8Array> = { authorities: authoritiesOf(entry, load) };
  for (const name of ["vcek", "vlek"]) if (entry.files[name]) parts[name] = load(pathOf(entry, name));
  if (crls.length > 0) parts["crl"] = concat(...crls.map((name) => load(pathOf(entry, name))));
  const endorsements = { tee: "sev-snp", parts } as const;
  const roots = rootsOf(entry, "amd", load);
  const verdict = verify(evidence, endorsements, { nowMs: timeOf(entry), ...roots });
  return answerOf(verdict, () => describeSevSnp(evidence, endorsements));
};

const AMD_AUTHORITIES = ["milan", "genoa", "turin"].flatMap((product) =>
  ["ask", "asvk", "ark"].map((role) => `anchors/amd-${product}-${role}.pem`),
);

/** The authorities that the entry names; AMD's own of every product where it names none. */
export function authoritiesOf(entry: VectorEntry, load: LoadFile): Uint8Array {
  const { trustAnchor, intermediate } = entry;
  const named = [intermediate, trustAnchor].filter((path) => typeof path === "string");
  const paths = typeof intermediate === "string" ? named : [...named, ...AMD_AUTHORITIES];
  return concat(...paths.flatMap((path) => readable(() => [load(path), utf8("\n")]) ?? []));
}

/** Trust in just the anchor that the entry names; the vendors' own where it names none. */
export function rootsOf(
  { trustAnchor }: VectorEntry,
  vendor: keyof TrustRoots["pins"],
  load: LoadFile,
): { roots?: TrustRoots } {
  if (trustAnchor?.endsWith(".pem") !== true) return {};
  const pins = parsePemChain(fromUtf8(load(trustAnchor))).map(({ publicKey }) => pinOf(publicKey));
  return { roots: { simulated: false, pins: { [vendor]: pins } } };
}

/** Launch digests from components; files stand in `files`, or as "empty file" among the inputs. */
export const judgeSnpLaunchDigest: Judge = (entry, load) => {
  const inputs = entry["inputs"] as Readonly<Record<string, string | number | null>>;
  const component = (name: string): Uint8Array | undefined => {
    if (typeof entry.files[name] === "string") return load(entry.files[name]);
    const input = inputs[name];
    return input === null || input === undefined ? undefined : new Uint8Array(0);
  };
  const { ovmfHash, append, vcpus, vcpuType, guestFeatures, vmm } = inputs;
  const svsm = component("svsm");
  const variables = Object.entries(inputs).find(([name]) => /vars?(?:iables)?(?:file)?_?size/i.test(name));
  const ovmfVariablesBytes = Number(variables?.[1] ?? 0);
  try {
    const digest = measureSnp({
      ovmf: load(pathOf(entry, "ovmf")),
      ovmfDigest: typeof ovmfHash === "string" ? fromHex(ovmfHash) : undefined,
      kernel: component("kernel"),
      initrd: component("initrd"),
      commandLine: typeof append === "string" ? append : undefined,
      vcpus: Number(vcpus),
      vcpuType: String(vcpuType),
      guestFeatures: BigInt(guestFeatures ?? 1),
      vmm: String(vmm).toLowerCase() as "qemu" | "ec2" | "gce",
      svsm: svsm && { image: svsm, ovmfVariablesBytes },
    });
    return { verdict: "valid", fields: {}, further: { launchDigest: toHex(digest) }, codes: [] };
  } catch (error) {
    return { verdict: "reject", fields: {}, codes: [codeOf(error)] };
  }
};
