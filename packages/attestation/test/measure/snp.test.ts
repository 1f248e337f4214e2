import { concat, sha384, toHex, utf8 } from "@cloister/core";
import { describe, expect, test } from "vitest";
import { guidBytes } from "../../src/measure/ovmf.ts";
import { cpuidSignature, vcpuSignature } from "../../src/measure/vcpu.ts";
import { vmsaPage } from "../../src/measure/vmsa.ts";
import { measureSnp, measureSnpFirmware, type SnpGuest } from "../../src/index.ts";

const PAGE = 4096;

interface OvmfForgery {
  readonly sections?: readonly (readonly [gpa: number, sizeBytes: number, kind: number])[];
  readonly hashesGpa?: number;
  readonly resetEip?: number;
  readonly pages?: number;
  readonly alter?: (image: Uint8Array) => void;
}

const SECTIONS = [
  [0x80_0000, 2 * PAGE, 1],
  [0x80_d000, PAGE, 2],
  [0x80_e000, PAGE, 3],
  [0x81_0000, PAGE, 0x10],
] as const;

/** Firmware with just the table that a launch digest depends on. */
function forgeOvmf(forgery: OvmfForgery = {}): Uint8Array {
  const image = new Uint8Array((forgery.pages ?? 2) * PAGE).fill(0x90);
  const sections = forgery.sections ?? SECTIONS;
  const metadataAt = 64;
  const metadata = concat(
    utf8("ASEV"),
    u32(16 + 12 * sections.length),
    u32(1),
    u32(sections.length),
    ...sections.flat().map(u32),
  );
  image.set(metadata, metadataAt);
  const entry = (guid: string, data: Uint8Array): Uint8Array =>
    concat(data, new Uint8Array([18 + data.length, 0]), guidBytes(guid));
  const entries = concat(
    entry("dc886566-984a-4798-a75e-5585a7bf67cc", u32(image.length - metadataAt)),
    entry("7255371f-3a3b-4b04-927b-1da6efa8d454", concat(u32(forgery.hashesGpa ?? 0x81_0400), u32(0x400))),
    entry("00f771de-1a7e-4fcb-890e-68c77e2fb44e", u32(forgery.resetEip ?? 0x80_b004)),
  );
  const table = concat(
    entries,
    new Uint8Array([entries.length + 18, 0]),
    guidBytes("96b582de-1fb2-45f7-baea-a366c55a082d"),
  );
  image.set(table, image.length - 32 - table.length);
  forgery.alter?.(image);
  return image;
}

function guest(changes: Partial<SnpGuest> = {}): SnpGuest {
  return { ovmf: forgeOvmf(), vcpus: 2, vcpuType: "EPYC-Genoa", guestFeatures: 1n, vmm: "qemu", ...changes };
}

function digest(changes: Partial<SnpGuest> = {}): string {
  return toHex(measureSnp(guest(changes)));
}

describe("launch digests", () => {
  const kernel = utf8("kernel");

  test("depend on everything that is measured", () => {
    const changes: Partial<SnpGuest>[] = [
      {},
      { ovmf: forgeOvmf({ alter: (image) => void (image[0] = 1) }) },
      { ovmf: forgeOvmf({ resetEip: 0x80_b008 }) },
      { ovmf: forgeOvmf({ sections: SECTIONS.slice(1) }) },
      { vcpus: 3 },
      { vcpuType: "EPYC-Milan" },
      { guestFeatures: 0x21n },
      { kernel },
      { kernel: utf8("another kernel") },
      { kernel, initrd: utf8("initrd") },
      { kernel, commandLine: "quiet" },
      { vmm: "ec2" },
      { vmm: "gce" },
    ];
    const digests = changes.map(digest);
    expect(new Set(digests).size).toBe(changes.length);
    expect(digests.every((hex) => hex.length === 96)).toBe(true);
  });

  test("do not depend on how the CPU is named, nor on the CPU where the VMM hides it", () => {
    expect(digest({ vcpuType: { family: 25, model: 17, stepping: 0 } })).toBe(digest());
    expect(digest({ vmm: "gce", vcpuType: "EPYC-Milan" })).toBe(digest({ vmm: "gce" }));
  });

  test("take an empty initrd and an empty command line for none", () => {
    expect(digest({ kernel, initrd: new Uint8Array(0), commandLine: "" })).toBe(digest({ kernel }));
  });

  test("may start from the firmware's own digest", () => {
    expect(digest({ ovmfDigest: measureSnpFirmware(forgeOvmf()) })).toBe(digest());
  });

  test("chain pages as PAGE_INFO says", () => {
    const image = forgeOvmf({ pages: 1 });
    const info = new Uint8Array(0x70);
    info.set(sha384(image), 48);
    info.set([0x70, 0, 1], 0x60);
    info.set([0, 0xf0, 0xff, 0xff], 0x68);
    expect(toHex(measureSnpFirmware(image))).toBe(toHex(sha384(info)));
  });
});

describe("what cannot be measured", () => {
  test.each<[string, Partial<SnpGuest>, string]>([
    ["no vCPUs", { vcpus: 0 }, "MEASURE_INPUT_INVALID"],
    ["too many vCPUs", { vcpus: 5000 }, "MEASURE_INPUT_INVALID"],
    ["an initrd without a kernel", { initrd: new Uint8Array(1) }, "MEASURE_INPUT_INVALID"],
    ["a command line without a kernel", { commandLine: "x" }, "MEASURE_INPUT_INVALID"],
    ["a firmware digest of another size", { ovmfDigest: new Uint8Array(32) }, "MEASURE_INPUT_INVALID"],
    ["a CPU that is not known", { vcpuType: "Pentium" }, "MEASURE_VCPU_UNKNOWN"],
    ["a CPU named like a member of every object", { vcpuType: "constructor" }, "MEASURE_VCPU_UNKNOWN"],
    ["firmware of half a page", { ovmf: new Uint8Array(100) }, "MEASURE_OVMF_MALFORMED"],
    [
      "firmware without a reset vector for a second vCPU",
      { ovmf: new Uint8Array(PAGE) },
      "MEASURE_OVMF_MALFORMED",
    ],
    ["an unknown section", { ovmf: forgeOvmf({ sections: [[0, PAGE, 9]] }) }, "MEASURE_OVMF_MALFORMED"],
    ["a section of half a page", { ovmf: forgeOvmf({ sections: [[0, 100, 1]] }) }, "MEASURE_OVMF_MALFORMED"],
    [
      "a section of four gigabytes",
      { ovmf: forgeOvmf({ sections: [[0, 0xfffff000, 1]] }) },
      "MEASURE_OVMF_MALFORMED",
    ],
    [
      "metadata without their signature",
      { ovmf: forgeOvmf({ alter: (image) => void (image[64] = 0) }) },
      "MEASURE_OVMF_MALFORMED",
    ],
    [
      "metadata of another version",
      { ovmf: forgeOvmf({ alter: (image) => void (image[72] = 2) }) },
      "MEASURE_OVMF_MALFORMED",
    ],
    [
      "metadata with too many sections",
      { ovmf: forgeOvmf({ alter: (image) => void image.fill(0xff, 76, 80) }) },
      "MEASURE_OVMF_MALFORMED",
    ],
    [
      "a kernel for firmware that does not check one",
      { kernel: new Uint8Array(1), ovmf: forgeOvmf({ sections: SECTIONS.slice(0, 3) }) },
      "MEASURE_OVMF_WITHOUT_HASHES",
    ],
    [
      "a kernel for firmware without a place for hashes",
      { kernel: new Uint8Array(1), ovmf: forgeOvmf({ hashesGpa: 0 }) },
      "MEASURE_OVMF_WITHOUT_HASHES",
    ],
    [
      "hashes that cross the end of a page",
      { kernel: new Uint8Array(1), ovmf: forgeOvmf({ hashesGpa: 0x81_0ff0 }) },
      "MEASURE_OVMF_MALFORMED",
    ],
    [
      "an SVSM that does not say where it starts",
      { svsm: { image: forgeOvmf(), ovmfVariablesBytes: 0 } },
      "MEASURE_OVMF_MALFORMED",
    ],
    [
      "an SVSM under another VMM",
      { vmm: "ec2", svsm: { image: forgeOvmf(), ovmfVariablesBytes: 0 } },
      "MEASURE_INPUT_INVALID",
    ],
  ])("%s is refused", (_, changes, code) => {
    expect(() => measureSnp(guest(changes))).toThrow(expect.objectContaining({ code }));
  });
});

test("CPU signatures are those of CPUID", () => {
  expect(vcpuSignature("EPYC-v4")).toBe(0x800f12);
  expect(vcpuSignature("EPYC-Genoa")).toBe(0xa10f10);
  expect(cpuidSignature(6, 1, 2)).toBe(0x612);
});

test("a vCPU starts at its reset vector", () => {
  const view = new DataView(
    vmsaPage({ eip: 0xfffffff0, signature: 0xa10f10, guestFeatures: 1n, vmm: "qemu" }).buffer,
  );
  expect(view.getBigUint64(0x178, true)).toBe(0xfff0n);
  expect(view.getBigUint64(0x18, true)).toBe(0xffff0000n);
  expect(view.getBigUint64(0x3b0, true)).toBe(1n);
});

function u32(value: number): Uint8Array {
  return new Uint8Array([value & 0xff, (value >> 8) & 0xff, (value >> 16) & 0xff, value >>> 24]);
}
