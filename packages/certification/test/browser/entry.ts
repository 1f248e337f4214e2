/** What a web page loads to verify proofs. */
export { simulationRoots, vendorRoots } from "@cloister/attestation";
export { verifyProof } from "../../src/index.ts";
