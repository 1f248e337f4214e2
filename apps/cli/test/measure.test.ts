import { createHash } from "node:crypto";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import { runJson, temporaryFolder } from "./run-cli.ts";

const vectors =
  process.env["CLOISTER_VECTORS"] ?? fileURLToPath(new URL("../../../../shared/vectors", import.meta.url));

interface LaunchVector {
  readonly id: string;
  readonly kind: string;
  readonly files: { readonly ovmf: string; readonly svsm?: string };
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
    ({ kind, inputs, files }) =>
      kind === "snp-launch-digest" &&
      files.svsm === undefined &&
      [null, "empty file"].includes(inputs.kernel),
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
  [["--ovmf", "ovmf", "--svsm", "odd"], "MEASURE_OVMF_MALFORMED", 1],
  [["--ovmf", "ovmf", "--svsm", "ovmf", "--kernel", "ovmf"], "MEASURE_INPUT_INVALID", 1],
  [["--ovmf", "ovmf", "--svsm", "ovmf", "--vmm", "ec2"], "MEASURE_INPUT_INVALID", 1],
  [["--vcpus", "1"], "USAGE_MISSING_MANDATORY_OPTION_VALUE", 2],
])("measure snp %j is refused with its code", async (args, code, expected) => {
  using folder = temporaryFolder();
  writeFileSync(folder.file("ovmf"), new Uint8Array(4096));
  writeFileSync(folder.file("odd"), "odd");
  const { exitCode, json } = await runJson(["measure", "snp", ...args], { cwd: folder.path });
  expect(json).toMatchObject({ error: { code, hint: expect.stringMatching(/\w/) } });
  expect(exitCode).toBe(expected);
});

/** An event log's first event, which names SHA-384 as its only algorithm, and then one event of five bytes. */
const LOG = [
  ["0000000003000000", "00".repeat(20), "21000000"].join(""),
  Buffer.from("Spec ID Event03\0").toString("hex"),
  ["0000000000000000", "01000000", "0c003000", "00"].join(""),
  ["01000000", "0d000000", "01000000", "0c00", "ab".repeat(48), "05000000", "0102030405"].join(""),
].join("");

test("registers follow from the events of a log", async () => {
  using folder = temporaryFolder();
  writeFileSync(folder.file("log"), Buffer.from(LOG, "hex"));
  const { json } = await runJson(["measure", "rtmr", folder.file("log")]);
  const extended = createHash("sha384").update(Buffer.alloc(48)).update(Buffer.alloc(48, 0xab)).digest("hex");
  const zeros = "00".repeat(48);
  expect(json).toMatchObject({ rtmr0: extended, rtmr1: zeros, rtmr2: zeros, rtmr3: zeros });
});

test.each([
  ["missing", "FILE_NOT_FOUND", 4],
  [".", "FILE_IS_FOLDER", 1],
  ["nothing", "EVENT_LOG_MALFORMED", 1],
  ["text", "EVENT_LOG_MALFORMED", 1],
  ["cut", "EVENT_LOG_MALFORMED", 1],
  ["fifth", "EVENT_LOG_MALFORMED", 1],
])("measure rtmr %j is refused with its code", async (file, code, expected) => {
  using folder = temporaryFolder();
  writeFileSync(folder.file("nothing"), "");
  writeFileSync(folder.file("text"), "this is no log of any firmware's making");
  writeFileSync(folder.file("cut"), Buffer.from(LOG.slice(0, -4), "hex"));
  writeFileSync(folder.file("fifth"), Buffer.from(LOG.replace("010000000d", "050000000d"), "hex"));
  const { exitCode, json } = await runJson(["measure", "rtmr", file], { cwd: folder.path });
  expect(json).toMatchObject({ error: { code, hint: expect.stringMatching(/\w/) } });
  expect(exitCode).toBe(expected);
});
