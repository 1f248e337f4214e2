import { hashText, type Signatures, type Statement } from "@cloister/swarm";
import type { NodeId } from "@cloister/core";

/**
 * Signatures of the simulated world: a keyed hash that every node's port can check but that only a
 * node's own port makes. Forgers in the simulator get no port, so theirs never verify.
 */
export function simulatedSignatures(self: NodeId, worldKey: number): Signatures {
  return {
    sign: (statement) => mark(statement, self, worldKey),
    verify: (statement, signer, signature) => {
      const expected = mark(statement, signer, worldKey);
      return signature.length === 8 && expected.every((byte, index) => byte === signature[index]);
    },
  };
}

function mark(statement: Statement, signer: NodeId, worldKey: number): Uint8Array {
  const text = signer + textOf(statement);
  const bytes = new Uint8Array(8);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, hashText(text, worldKey));
  view.setUint32(4, hashText(text, worldKey ^ 0x5bd1e995));
  return bytes;
}

function textOf(statement: Statement): string {
  switch (statement.kind) {
    case "vote":
      return `vote ${statement.term} ${statement.candidate}`;
    case "assignment":
      return `assignment ${statement.orderId} ${statement.node} ${statement.term} ${statement.epoch} ${statement.goalId}`;
    case "measurement":
      return `measurement ${statement.reporter} ${statement.sequence} ${samplesText(statement.samples)}`;
  }
}

function samplesText(samples: Extract<Statement, { kind: "measurement" }>["samples"]): string {
  let text = "";
  for (const { peer, rttMs, probes } of samples) text += `${peer}${rttMs}${probes};`;
  return text;
}
