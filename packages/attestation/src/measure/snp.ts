import {
  CloisterError,
  concat,
  digestOfDocument,
  sha256,
  sha384,
  toHex,
  utf8,
  type Digest,
} from "@cloister/core";
import { Memo } from "../memo.ts";
import { guidBytes, OVMF_HINT, parseOvmf, SECTION, type Ovmf, type OvmfSection } from "./ovmf.ts";
import { cpuidSignature, vcpuSignature } from "./vcpu.ts";
import { svsmVmsaPage, vmsaPages, type Vmm } from "./vmsa.ts";

/** What decides an SEV-SNP guest's launch digest. */
export interface SnpGuest {
  /** The firmware image (OVMF), whole. */
  readonly ovmf: Uint8Array;
  /**
   * Launch digest after the firmware's pages, 48 bytes, when it is known from elsewhere: then only the
   * table at the image's end is read, and the pages are not measured again.
   */
  readonly ovmfDigest?: Uint8Array | undefined;
  /** Kernel and what goes with it, for direct boot with hashes; without it nothing of this is measured. */
  readonly kernel?: Uint8Array | undefined;
  readonly initrd?: Uint8Array | undefined;
  readonly commandLine?: string | undefined;
  readonly vcpus: number;
  /** A QEMU model name, or the CPU's numbers. Not measured under `ec2` and `gce`. */
  readonly vcpuType: string | { readonly family: number; readonly model: number; readonly stepping: number };
  /** SEV_FEATURES of each vCPU; 1 is SNP alone. */
  readonly guestFeatures: bigint;
  readonly vmm: Vmm;
  /** COCONUT-SVSM below the firmware, and the size of the firmware's variable store between the two. */
  readonly svsm?: { readonly image: Uint8Array; readonly ovmfVariablesBytes: number } | undefined;
}

/** How the firmware treats a page (AMD 56860 §8.17, PAGE_INFO.PAGE_TYPE). */
const PAGE = { normal: 1, vmsa: 2, zero: 3, unmeasured: 4, secrets: 5, cpuid: 6 } as const;
const PAGE_BYTES = 4096;
const DIGEST_BYTES = 48;
/** Where the RMP records a VMSA: all ones, aligned to a page, cut to 52 bits. */
const VMSA_GPA = 0xfffffffff000n;
const VCPUS_MAX = 4096;

/**
 * Computes the launch digest (the report's MEASUREMENT, 48 bytes) that a guest of these components has.
 * @throws {CloisterError} `MEASURE_OVMF_MALFORMED`, `MEASURE_OVMF_WITHOUT_HASHES`, `MEASURE_VCPU_UNKNOWN`,
 *   `MEASURE_INPUT_INVALID`. Source: AMD 56860 §8.17.2 and Table 67.
 */
export function measureSnp(guest: SnpGuest): Uint8Array {
  if (!Number.isInteger(guest.vcpus) || guest.vcpus < 1 || guest.vcpus > VCPUS_MAX) {
    throw invalid(`the number of vCPUs is not 1 to ${VCPUS_MAX}`);
  }
  if (guest.kernel === undefined && (guest.initrd !== undefined || guest.commandLine)) {
    throw invalid("an initrd or a command line is measured only together with a kernel");
  }
  const ovmf = parseOvmf(guest.ovmf);
  const launch = new LaunchDigest(guest.ovmfDigest);
  if (guest.ovmfDigest === undefined) launch.pages(PAGE.normal, ovmf.gpa, ovmf.image);
  if (guest.svsm !== undefined) return measureSvsm(launch, ovmf, guest, guest.svsm);
  addSections(launch, ovmf, guest);
  const pages = vmsaPages({
    resetEip: resetEipFor(guest, ovmf),
    signature: signatureOf(guest),
    guestFeatures: guest.guestFeatures,
    vmm: guest.vmm,
  });
  for (let i = 0; i < guest.vcpus; i++)
    launch.add(PAGE.vmsa, VMSA_GPA, sha384(i === 0 ? pages.boot : pages.others));
  return launch.value;
}

/** Under an SVSM its own metadata count, not the firmware's, and every vCPU starts in it. */
function measureSvsm(
  launch: LaunchDigest,
  ovmf: Ovmf,
  guest: SnpGuest,
  { image, ovmfVariablesBytes }: NonNullable<SnpGuest["svsm"]>,
): Uint8Array {
  if (guest.vmm !== "qemu" || guest.kernel !== undefined) {
    throw invalid("an SVSM is measured under QEMU, and without a kernel");
  }
  const svsm = parseOvmf(image, ovmf.gpa - ovmfVariablesBytes);
  if (svsm.svsmEip === undefined) throw malformedSection("it does not say where the SVSM starts");
  launch.pages(PAGE.normal, svsm.gpa, svsm.image);
  addSections(launch, svsm, guest);
  const vmsa = sha384(svsmVmsaPage(svsm.svsmEip, signatureOf(guest)));
  for (let i = 0; i < guest.vcpus; i++) launch.add(PAGE.vmsa, VMSA_GPA, vmsa);
  return launch.value;
}

/** The launch digest after the firmware's own pages: what `ovmfDigest` wants. @throws as `measureSnp` */
export function measureSnpFirmware(image: Uint8Array): Uint8Array {
  const { gpa } = parseOvmf(image);
  const launch = new LaunchDigest(undefined);
  launch.pages(PAGE.normal, gpa, image);
  return launch.value;
}

/**
 * The digest by which claims, reference values and the chain name an SEV-SNP guest. The privilege level is
 * part of it: the launch digest measures what runs at level 0, and says nothing of what that starts below.
 */
export function snpMeasurement(launchDigest: Uint8Array, vmpl = 0): Digest {
  const key = `${vmpl} ${toHex(launchDigest)}`;
  const known = measurements.get(key);
  if (known !== undefined) return known;
  const measurement = digestOfDocument({ tee: "sev-snp", launchDigest, vmpl });
  measurements.set(key, measurement);
  return measurement;
}

const measurements = new Memo<Digest>(256);

class LaunchDigest {
  value: Uint8Array;

  constructor(seed: Uint8Array | undefined) {
    if (seed !== undefined && seed.length !== DIGEST_BYTES) throw invalid("a launch digest has 48 bytes");
    this.value = seed ?? new Uint8Array(DIGEST_BYTES);
  }

  /** Extends by one page: SHA-384 over PAGE_INFO, which holds the digest so far. */
  add(type: number, gpa: bigint, contents: Uint8Array): void {
    const info = new Uint8Array(0x70);
    info.set(this.value, 0);
    info.set(contents, DIGEST_BYTES);
    const view = new DataView(info.buffer);
    view.setUint16(0x60, 0x70, true);
    view.setUint8(0x62, type);
    view.setBigUint64(0x68, gpa, true);
    this.value = sha384(info);
  }

  pages(type: number, gpa: number, bytes: Uint8Array): void {
    for (let at = 0; at < bytes.length; at += PAGE_BYTES) {
      this.add(type, BigInt(gpa + at), sha384(bytes.subarray(at, at + PAGE_BYTES)));
    }
  }

  /** Pages whose contents are not hashed: the VMM or the firmware fills them. */
  blank(type: number, gpa: number, sizeBytes: number): void {
    const none = new Uint8Array(DIGEST_BYTES);
    for (let at = 0; at < sizeBytes; at += PAGE_BYTES) this.add(type, BigInt(gpa + at), none);
  }
}

function addSections(launch: LaunchDigest, ovmf: Ovmf, guest: SnpGuest): void {
  const hashes = guest.kernel === undefined ? undefined : kernelHashesPage(guest, guest.kernel, ovmf);
  for (const section of ovmf.sections) {
    // EC2 adds the CPUID page after everything else.
    if (section.kind === SECTION.cpuid && guest.vmm === "ec2") continue;
    addSection(launch, section, guest.vmm, hashes);
  }
  if (guest.vmm !== "ec2") return;
  for (const { kind, gpa } of ovmf.sections) {
    if (kind === SECTION.cpuid) launch.blank(PAGE.cpuid, gpa, PAGE_BYTES);
  }
}

function addSection(
  launch: LaunchDigest,
  { kind, gpa, sizeBytes }: OvmfSection,
  vmm: Vmm,
  hashes: Uint8Array | undefined,
): void {
  switch (kind) {
    case SECTION.memory:
      return launch.blank(vmm === "gce" ? PAGE.unmeasured : PAGE.zero, gpa, sizeBytes);
    case SECTION.svsmCallingArea:
      return launch.blank(PAGE.zero, gpa, sizeBytes);
    case SECTION.secrets:
      return launch.blank(PAGE.secrets, gpa, PAGE_BYTES);
    case SECTION.cpuid:
      return launch.blank(PAGE.cpuid, gpa, PAGE_BYTES);
    case SECTION.kernelHashes:
      if (hashes === undefined) return launch.blank(PAGE.zero, gpa, sizeBytes);
      if (sizeBytes !== PAGE_BYTES) throw malformedSection("its kernel hashes do not have one page");
      return launch.pages(PAGE.normal, gpa, hashes);
    default:
      throw malformedSection(`its SEV metadata has a section of the unknown kind ${kind}`);
  }
}

const HASHES_HEADER = guidBytes("9438d606-4f22-4cc9-b479-a793d411fd21");
const HASHES_COMMAND_LINE = guidBytes("97d02dd8-bd20-4c94-aa78-e7714d36ab2a");
const HASHES_INITRD = guidBytes("44baf731-3a2f-4bd7-9af1-41e29169781d");
const HASHES_KERNEL = guidBytes("4de79437-abd2-427f-b835-d5b172d2045b");

/** The page that QEMU writes for `kernel-hashes=on`: the table at its place, zeros around it. */
function kernelHashesPage(guest: SnpGuest, kernel: Uint8Array, ovmf: Ovmf): Uint8Array {
  const supported = ovmf.sections.some(({ kind }) => kind === SECTION.kernelHashes);
  if (!supported || ovmf.kernelHashesGpa === undefined) {
    throw new CloisterError(
      "MEASURE_OVMF_WITHOUT_HASHES",
      "The firmware does not check hashes of a kernel.",
      {
        hint: "Use a firmware built for direct boot (OvmfPkg/AmdSev), or leave kernel, initrd and command line out.",
      },
    );
  }
  const entry = (guid: Uint8Array, bytes: Uint8Array): Uint8Array =>
    concat(guid, new Uint8Array([16 + 2 + 32, 0]), sha256(bytes));
  const entries = concat(
    entry(HASHES_COMMAND_LINE, concat(utf8(guest.commandLine ?? ""), new Uint8Array(1))),
    entry(HASHES_INITRD, guest.initrd ?? new Uint8Array(0)),
    entry(HASHES_KERNEL, kernel),
  );
  const table = concat(HASHES_HEADER, new Uint8Array([16 + 2 + entries.length, 0]), entries);
  const offset = ovmf.kernelHashesGpa % PAGE_BYTES;
  if (offset + table.length > PAGE_BYTES) throw malformedSection("its kernel hashes cross the end of a page");
  const page = new Uint8Array(PAGE_BYTES);
  page.set(table, offset);
  return page;
}

function resetEipFor(guest: SnpGuest, ovmf: Ovmf): number {
  if (ovmf.resetEip !== undefined) return ovmf.resetEip;
  if (guest.vcpus === 1) return 0;
  throw malformedSection("it does not say where processors other than the first start");
}

function signatureOf({ vcpuType, vmm }: SnpGuest): number {
  if (vmm !== "qemu") return 0;
  if (typeof vcpuType === "string") return vcpuSignature(vcpuType);
  return cpuidSignature(vcpuType.family, vcpuType.model, vcpuType.stepping);
}

function invalid(why: string): CloisterError {
  return new CloisterError("MEASURE_INPUT_INVALID", `The guest cannot be measured: ${why}.`, {
    hint: "Give what the VMM is started with.",
  });
}

function malformedSection(why: string): CloisterError {
  return new CloisterError("MEASURE_OVMF_MALFORMED", `The firmware image cannot be measured: ${why}.`, {
    hint: OVMF_HINT,
  });
}
