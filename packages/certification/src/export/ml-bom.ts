import { digestBytes, toHex, type Digest } from "@cloister/core";
import type { OrderReport, ReportInput } from "../reports/types.ts";

/** A CycloneDX bill of materials, as JSON. */
export interface MlBom {
  readonly bomFormat: "CycloneDX";
  readonly specVersion: "1.6";
  readonly serialNumber: string;
  readonly version: 1;
  readonly metadata: Readonly<Record<string, unknown>>;
  readonly components: readonly Readonly<Record<string, unknown>>[];
  readonly dependencies: readonly { readonly ref: string; readonly dependsOn: readonly string[] }[];
}

/** CycloneDX's kinds of component. */
const TYPES = { engine: "application", data: "data", model: "machine-learning-model" } as const;

/**
 * Writes a verified report as CycloneDX 1.6 bill of materials: the outputs, and the engine, data and models
 * that they were made from, by digest. The serial number follows from the report, so that one report has one.
 */
export function toMlBom(
  report: OrderReport,
  digests: { readonly report: Digest; readonly proof: Digest },
): MlBom {
  const { integrity, outputs } = report;
  const inputs = integrity.inputs.map(inputComponent);
  const made = outputs.map(({ name, content }) =>
    component("machine-learning-model", name, content, `output:${name}`),
  );
  const dependsOn = inputs.map((one) => one["bom-ref"]);
  return {
    bomFormat: "CycloneDX",
    specVersion: "1.6",
    serialNumber: `urn:uuid:${uuidOf(digests.report)}`,
    version: 1,
    metadata: {
      timestamp: new Date(report.endedAtMs).toISOString(),
      component: { type: "application", name: `order ${integrity.orderId}`, "bom-ref": "order" },
      properties: [
        { name: "cloister:report", value: digests.report },
        { name: "cloister:proof", value: digests.proof },
        { name: "cloister:simulated", value: String(report.evidence.some((part) => part.simulated)) },
      ],
    },
    components: [...made, ...inputs],
    dependencies: [
      { ref: "order", dependsOn: made.map((one) => one["bom-ref"]) },
      ...made.map((one) => ({ ref: one["bom-ref"], dependsOn })),
      ...inputs.map((one) => ({ ref: one["bom-ref"], dependsOn: [] })),
    ],
  };
}

function inputComponent({ role, offerId, content }: ReportInput, index: number) {
  return component(TYPES[role], `${role} of offer ${offerId}`, content, `input:${index}`);
}

function component(type: string, name: string, content: Digest, ref: string) {
  return { type, "bom-ref": ref, name, hashes: [{ alg: "SHA-256", content: toHex(digestBytes(content)) }] };
}

/** A UUID of version 8 (RFC 9562 §5.8) from the first bytes of a digest. */
function uuidOf(digest: Digest): string {
  const bytes = digestBytes(digest).slice(0, 16);
  bytes[6] = ((bytes[6] as number) & 0x0f) | 0x80;
  bytes[8] = ((bytes[8] as number) & 0x3f) | 0x80;
  const hex = toHex(bytes);
  return [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20)].join("-");
}
