import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import { runJson, temporaryFolder } from "./run-cli.ts";

const vectors =
  process.env["CLOISTER_VECTORS"] ?? fileURLToPath(new URL("../../../../shared/vectors", import.meta.url));

interface LaunchVector {
  readonly id: string;
  readonly kind: string;
  readonly files: { readonly ovmf: string };
  readonly inputs: {
    readonly vcpus: number;
    readonly vcpuType: string;
    readonly guestFeatures: number;
    readonly vmm: string;
    readonly kernel: string | null;
    readonly append: string | null;
    readonly ovmfHash: string | null;
  };
  readonly expected: { readonly launchDigest: string };
}

/** The vectors whose inputs can be given on a command line: kernel and initrd empty files or none. */
function launchVectors(): LaunchVector[] {
  if (!existsSync(`${vectors}/index.json`)) return [];
  const { entries } = JSON.parse(readFileSync(`${vectors}/index.json`, "utf8")) as {
    entries: LaunchVector[];
  };
  return entries.filter(
    ({ kind, inputs }) => kind === "snp-launch-digest" && [null, "empty file"].includes(inputs.kernel),
  );
}

const found = launchVectors();

test.skipIf(found.length === 0)(
  "launch digests are those of the vectors (needs the vectors folder)",
  async () => {
    using folder = temporaryFolder();
    writeFileSync(folder.file("empty"), "");
    for (const { id, files, inputs, expected } of found) {
      const args = [
        "measure",
        "snp",
        "--ovmf",
        `${vectors}/${files.ovmf}`,
        "--vmm",
        inputs.vmm.toLowerCase(),
      ];
      args.push("--vcpus", String(inputs.vcpus), "--vcpu-type", inputs.vcpuType);
      args.push("--guest-features", String(inputs.guestFeatures));
      if (inputs.kernel !== null)
        args.push("--kernel", folder.file("empty"), "--initrd", folder.file("empty"));
      if (inputs.kernel !== null) args.push("--append", inputs.append ?? "");
      if (inputs.ovmfHash !== null) args.push("--ovmf-digest", inputs.ovmfHash);
      const { json } = await runJson(args);
      expect(json, id).toMatchObject({ launchDigest: expected.launchDigest });
    }
  },
);

test("what is measured is named by a digest, and each component changes it", async () => {
  using folder = temporaryFolder();
  writeFileSync(folder.file("ovmf"), new Uint8Array(4096));
  const measure = async (...more: string[]): Promise<unknown> =>
    (await runJson(["measure", "snp", "--ovmf", folder.file("ovmf"), ...more])).json["measurement"];
  const plain = await measure();
  expect(plain).toMatch(/^sha256:[0-9a-f]{64}$/);
  expect(await measure()).toBe(plain);
  expect(await measure("--guest-features", "0x21")).not.toBe(plain);
  const milan = await measure("--vcpu-type", "EPYC-Milan");
  expect(milan).not.toBe(plain);
  expect(await measure("--vcpu-type", "25/1/1")).toBe(milan);
});

test.each([
  [["--ovmf", "missing"], "FILE_NOT_FOUND", 4],
  [["--ovmf", "odd"], "MEASURE_OVMF_MALFORMED", 1],
  [["--ovmf", "ovmf", "--vcpu-type", "Pentium"], "MEASURE_VCPU_UNKNOWN", 1],
  [["--ovmf", "ovmf", "--vcpus", "0"], "MEASURE_INPUT_INVALID", 1],
  [["--ovmf", "ovmf", "--append", "x"], "MEASURE_INPUT_INVALID", 1],
  [["--ovmf", "ovmf", "--kernel", "ovmf"], "MEASURE_OVMF_WITHOUT_HASHES", 1],
  [["--ovmf", "ovmf", "--ovmf-digest", "xy"], "USAGE_INVALID_ARGUMENT", 2],
  [["--ovmf", "ovmf", "--ovmf-digest", "00"], "MEASURE_INPUT_INVALID", 1],
  [["--ovmf", "ovmf", "--vmm", "xen"], "USAGE_INVALID_ARGUMENT", 2],
  [["--ovmf", "ovmf", "--guest-features", "all"], "USAGE_INVALID_ARGUMENT", 2],
  [["--vcpus", "1"], "USAGE_MISSING_MANDATORY_OPTION_VALUE", 2],
])("measure snp %j is refused with its code", async (args, code, expected) => {
  using folder = temporaryFolder();
  writeFileSync(folder.file("ovmf"), new Uint8Array(4096));
  writeFileSync(folder.file("odd"), "odd");
  const { exitCode, json } = await runJson(["measure", "snp", ...args], { cwd: folder.path });
  expect(json).toHaveProperty("error.code", code);
  expect(exitCode).toBe(expected);
});
