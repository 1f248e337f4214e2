import { digestToHex, type Address, type Digest } from "@cloister/core";
import { encodeDeployData, getContractAddress } from "viem/utils";
import { marketAbi, marketBytecode } from "./generated/market.ts";
import { registryAbi, registryBytecode } from "./generated/registry.ts";
import { transparencyLogAbi, transparencyLogBytecode } from "./generated/transparency-log.ts";
import type { Deployment } from "./types.ts";

/** What is fixed for ever when the contracts are deployed. IRegistry.Config */
export interface DeploymentConfig {
  readonly builders: readonly Address[];
  /** How many builders must sign to widen trust, and to narrow it. */
  readonly threshold: number;
  readonly revokeThreshold: number;
  /** From a decision of the builders to its effect. */
  readonly delaySeconds: number;
  /** From a node's exit to the release of its stake. */
  readonly exitDelaySeconds: number;
  readonly nodeStakeWei: bigint;
  /** Stake that an order without a report costs its node. */
  readonly forfeitWei: bigint;
  /** The most that one epoch of rewards takes out of the kitty. Default 0: none until the builders set it. */
  readonly rewardWei?: bigint | undefined;
  /** Trusted and approved from the first block on. */
  readonly authorities: readonly Address[];
  readonly measurements: readonly Digest[];
}

/** Creation of one contract. */
export interface Creation {
  readonly name: "registry" | "market" | "log";
  readonly address: Address;
  readonly nonce: number;
  readonly data: `0x${string}`;
}

/** The three creations, to be sent by one account with consecutive nonces, and what they give. */
export interface DeploymentPlan {
  readonly creations: readonly [Creation, Creation, Creation];
  readonly addresses: Pick<Deployment, "registry" | "market" | "log">;
}

/**
 * Plans a deployment. Registry and market name each other, so the market's address is computed ahead from the
 * deployer and the nonce; the same account, nonce and configuration always give the same plan.
 */
export function planDeployment(config: DeploymentConfig, deployer: Address, nonce: number): DeploymentPlan {
  const [registry, market, log] = [0, 1, 2].map(
    (offset) =>
      getContractAddress({ from: deployer, nonce: BigInt(nonce + offset) }).toLowerCase() as Address,
  ) as [Address, Address, Address];
  const measurements = config.measurements.map(digestToHex);
  const registryData = encodeDeployData({
    abi: registryAbi,
    bytecode: registryBytecode,
    args: [{ ...config, rewardWei: config.rewardWei ?? 0n, market, measurements }],
  });
  const marketData = encodeDeployData({ abi: marketAbi, bytecode: marketBytecode, args: [registry] });
  const logData = encodeDeployData({
    abi: transparencyLogAbi,
    bytecode: transparencyLogBytecode,
    args: [registry],
  });
  return {
    creations: [
      { name: "registry", address: registry, nonce, data: registryData },
      { name: "market", address: market, nonce: nonce + 1, data: marketData },
      { name: "log", address: log, nonce: nonce + 2, data: logData },
    ],
    addresses: { registry, market, log },
  };
}
