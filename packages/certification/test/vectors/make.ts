/** Writes spec/vectors/{log,order-report,proof-file}. Run it after a deliberate change of a format: `node packages/certification/test/vectors/make.ts`. */
import { mkdirSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { logVectors } from "./log.ts";
import { proofVectors } from "./proof.ts";
import { reportVectors } from "./report.ts";

export const vectorsFolder = join(dirname(fileURLToPath(import.meta.url)), "../../../../spec/vectors");

/** Every vector file of this package by its path under spec/vectors. */
export async function allVectors(): Promise<Record<string, string | Uint8Array>> {
  const { proof, cases } = await proofVectors();
  return {
    "log/tree.json": json((await logVectors()).tree),
    "log/checkpoints.json": json((await logVectors()).checkpoints),
    "order-report/reports.json": json(reportVectors()),
    // simulated.proof and cases.json are of version 1, which is read and no longer written.
    "proof-file/witnessed.proof": proof,
    "proof-file/witnessed-cases.json": json(cases),
  };
}

function json(value: unknown): string {
  return `${JSON.stringify(value, null, 2)}\n`;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  for (const [path, content] of Object.entries(await allVectors())) {
    mkdirSync(dirname(join(vectorsFolder, path)), { recursive: true });
    writeFileSync(join(vectorsFolder, path), content);
  }
}
