import { digestOf, fromHex, parseAddress, utf8, type Address, type Hex32 } from "@cloister/core";
import { planDeployment } from "@cloister/market";
import { expect, test } from "vitest";
import {
  authoritySlot,
  decodeBlockHeader,
  encodeBlockHeader,
  isInForce,
  measurementApprovalSlot,
  measurementIndexSlot,
  proveAccount,
  proveSlot,
  TrieNodes,
} from "../../src/index.ts";
import { anvil, startAnvil } from "../anvil.ts";

const measurements = [digestOf(utf8("first")), digestOf(utf8("second"))] as const;
const authority = parseAddress(`0x${"a1".repeat(20)}`);
const some = parseAddress(`0x${"b1".repeat(20)}`);

test.skipIf(anvil === undefined)(
  "the registry as it is compiled holds approvals where proofs look for them (needs anvil)",
  async () => {
    const chain = await startAnvil(anvil as string);
    try {
      const [from] = (await chain.call("eth_accounts", [])) as [Address];
      const config = {
        ...{ builders: [from], threshold: 1, revokeThreshold: 1, delaySeconds: 0, exitDelaySeconds: 0 },
        ...{ nodeStakeWei: 0n, forfeitWei: 0n, authorities: [authority], measurements },
      };
      const { creations, addresses } = planDeployment(config, from, 0);
      for (const { data } of creations) {
        await chain.call("eth_sendTransaction", [{ from, data, gas: "0x1800000" }]);
      }
      const { registry } = addresses;
      const header = decodeBlockHeader(encodeBlockHeader(await chain.latestBlock()));
      const word = async (slot: Hex32): Promise<Uint8Array> => {
        const { accountProof, storageProof } = await chain.stateProof(registry, [slot], header.number);
        const nodes = new TrieNodes([...accountProof, ...(storageProof[0]?.proof ?? [])].map(fromHex));
        return proveSlot(proveAccount(header.stateRoot, registry, nodes).storageRoot, slot, nodes);
      };
      for (const [i, measurement] of measurements.entries()) {
        expect((await word(measurementIndexSlot(measurement))).at(-1)).toBe(i + 1);
        expect(isInForce(await word(measurementApprovalSlot(i + 1)), header.timestampMs)).toBe(true);
      }
      expect(isInForce(await word(authoritySlot(authority)), header.timestampMs)).toBe(true);
      expect(isInForce(await word(authoritySlot(some)), header.timestampMs)).toBe(false);
      expect(isInForce(await word(measurementApprovalSlot(3)), header.timestampMs)).toBe(false);
    } finally {
      chain.stop();
    }
  },
);
