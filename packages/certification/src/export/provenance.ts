import type { Digest } from "@cloister/core";
import type { OrderReport, ReportInput } from "../reports/types.ts";

/** How these statements say what kind of build a run is. spec/proof-file.md §8 */
const BUILD_TYPE = "https://cloister.dev/order/v1";

/** A statement of in-toto with SLSA provenance, as JSON. */
export interface ProvenanceStatement {
  readonly _type: "https://in-toto.io/Statement/v1";
  readonly subject: readonly { readonly name: string; readonly digest: { readonly sha256: string } }[];
  readonly predicateType: "https://slsa.dev/provenance/v1";
  readonly predicate: Readonly<Record<string, unknown>>;
}

/**
 * Writes a verified report as in-toto statement with SLSA v1 provenance, for tools that read those. It is
 * not signed anew: `byproducts` names the signed report and the proof file, which are what can be verified.
 */
export function toProvenance(
  report: OrderReport,
  digests: { readonly report: Digest; readonly proof: Digest },
): ProvenanceStatement {
  const { integrity, outputs } = report;
  return {
    _type: "https://in-toto.io/Statement/v1",
    subject: outputs.map(({ name, content }) => ({ name, digest: sha256Of(content) })),
    predicateType: "https://slsa.dev/provenance/v1",
    predicate: {
      buildDefinition: {
        buildType: BUILD_TYPE,
        externalParameters: {
          chainId: integrity.chainId,
          contract: integrity.contract,
          orderId: integrity.orderId,
          args: sha256Of(integrity.args),
        },
        internalParameters: {
          term: integrity.term,
          epoch: integrity.epoch,
          egress: integrity.egress,
          limits: integrity.limits,
          simulated: report.evidence.some((part) => part.simulated),
        },
        resolvedDependencies: integrity.inputs.map(dependencyOf),
      },
      runDetails: {
        builder: {
          id: `cloister://${integrity.chainId}/${integrity.contract}/node/${integrity.node}`,
          version: Object.fromEntries(report.evidence.map(({ tee, measurement }) => [tee, measurement])),
        },
        metadata: {
          invocationId: integrity.orderId,
          startedOn: new Date(report.startedAtMs).toISOString(),
          finishedOn: new Date(report.endedAtMs).toISOString(),
        },
        byproducts: [
          { name: "order report", digest: sha256Of(digests.report) },
          { name: "proof file", digest: sha256Of(digests.proof) },
        ],
      },
    },
  };
}

function dependencyOf(input: ReportInput) {
  const { role, offerId, content, sealed, consent } = input;
  return {
    name: role,
    uri: `cloister:offer:${offerId}`,
    digest: sha256Of(content),
    annotations: { sealed, ...(consent === undefined ? {} : { consent }) },
  };
}

function sha256Of(digest: Digest): { sha256: string } {
  return { sha256: digest.slice("sha256:".length) };
}
