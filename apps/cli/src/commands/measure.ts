import type { SnpGuest } from "@cloister/attestation";
import { toHex } from "@cloister/core";
import { InvalidArgumentError, Option, type Command } from "commander";
import { commandOf, examples } from "../cli/command.ts";
import type { Context } from "../cli/context.ts";
import { readDocument } from "../cli/files.ts";
import { formatFields } from "../cli/output.ts";
import { parseCount, parseHex } from "../cli/parse.ts";

const IMAGE_BYTES_MAX = 1024 * 1024 * 1024;
const LOG_BYTES_MAX = 4 * 1024 * 1024;

interface SnpOptions {
  readonly ovmf: string;
  readonly ovmfDigest?: Uint8Array;
  readonly kernel?: string;
  readonly initrd?: string;
  readonly append?: string;
  readonly vcpus: number;
  readonly vcpuType: SnpGuest["vcpuType"];
  readonly guestFeatures: bigint;
  readonly vmm: SnpGuest["vmm"];
  readonly svsm?: string;
  readonly ovmfVariables: number;
}

export function register(program: Command, context: Context): void {
  const measure = commandOf(program, "measure").description(
    "Compute the measurement that a machine of known components must have, to compare it with what its evidence says.",
  );
  measure
    .command("snp")
    .summary("the launch digest of an AMD SEV-SNP guest")
    .description(
      "Compute the launch digest of an AMD SEV-SNP guest from its firmware, kernel and processors.",
    )
    .requiredOption("--ovmf <file>", "the firmware image")
    .option("--ovmf-digest <hex>", "launch digest after the firmware's own pages, when it is known", parseHex)
    .option("--kernel <file>", "the kernel, for direct boot with hashes")
    .option("--initrd <file>", "its initial RAM disk")
    .option("--append <text>", "its command line")
    .option("--vcpus <count>", "how many virtual processors", parseCount, 1)
    .option(
      "--vcpu-type <model>",
      "their QEMU model, or family/model/stepping such as 25/1/1",
      parseVcpuType,
      "EPYC-v4",
    )
    .addOption(
      new Option("--guest-features <mask>", "SEV_FEATURES; 0x1 is SNP alone")
        .argParser(parseMask)
        .default(1n, "0x1"),
    )
    .addOption(
      new Option("--vmm <name>", "what starts the guest").choices(["qemu", "ec2", "gce"]).default("qemu"),
    )
    .option("--svsm <file>", "COCONUT-SVSM, where it runs below the firmware")
    .option("--ovmf-variables <bytes>", "size of the firmware's variable store, below an SVSM", parseCount, 0)
    .addHelpText(
      "after",
      examples([
        'cloister measure snp --ovmf OVMF.fd --kernel vmlinuz --initrd initrd --append "console=ttyS0" --vcpus 4',
        "what the report of this guest must say",
      ]),
    )
    .action((options: SnpOptions) => measureGuest(options, context));
  measure
    .command("rtmr")
    .summary("the runtime registers of an Intel TDX guest after an event log")
    .description(
      "Compute the runtime registers RTMR 0 to 3 that an Intel TDX guest has after the events of a log. A log alone proves nothing: the registers are to be compared with those of a quote that verifies.",
    )
    .argument("<log>", "the contents of the guest's CCEL table, or - for standard input")
    .addHelpText(
      "after",
      examples([
        "cloister measure rtmr /sys/firmware/acpi/tables/data/CCEL",
        "what a quote of this guest must say",
      ]),
    )
    .action((file: string) => measureLog(file, context));
}

async function measureLog(file: string, context: Context): Promise<void> {
  const { measureEventLog } = await import("@cloister/attestation");
  const registers = measureEventLog(await readDocument(file, LOG_BYTES_MAX));
  context.output.result({ ...registers }, () => formatFields(Object.entries(registers)));
}

async function measureGuest(options: SnpOptions, context: Context): Promise<void> {
  const optional = (file: string | undefined): Promise<Uint8Array> | undefined =>
    file === undefined ? undefined : readDocument(file, IMAGE_BYTES_MAX);
  const { measureSnp, snpMeasurement } = await import("@cloister/attestation");
  const svsm = await optional(options.svsm);
  const launchDigest = measureSnp({
    ovmf: await readDocument(options.ovmf),
    ovmfDigest: options.ovmfDigest,
    kernel: await optional(options.kernel),
    initrd: await optional(options.initrd),
    commandLine: options.append,
    vcpus: options.vcpus,
    vcpuType: options.vcpuType,
    guestFeatures: options.guestFeatures,
    vmm: options.vmm,
    svsm: svsm && { image: svsm, ovmfVariablesBytes: options.ovmfVariables },
  });
  const measurement = snpMeasurement(launchDigest);
  context.output.result({ launchDigest: toHex(launchDigest), measurement }, () =>
    formatFields([
      ["launch digest", toHex(launchDigest)],
      ["measurement", measurement],
    ]),
  );
}

/** A model by its name, which the measurement checks, or by its numbers. */
function parseVcpuType(text: string): SnpGuest["vcpuType"] {
  const match = /^(\d{1,3})\/(\d{1,3})\/(\d{1,2})$/.exec(text);
  if (match === null) return text;
  const [family, model, stepping] = match.slice(1).map(Number) as [number, number, number];
  return { family, model, stepping };
}

function parseMask(text: string): bigint {
  if (/^(0x[0-9a-fA-F]{1,16}|\d{1,19})$/.test(text)) return BigInt(text);
  throw new InvalidArgumentError("It must be a number such as 0x1.");
}
