import { CloisterError, type Address, type Hex32, type Log, type RecordStore } from "@cloister/core";
import {
  addressOfSecret,
  planDeployment,
  type Call,
  type Chain,
  type ChainView,
  type Creation,
  type Deployment,
  type DeploymentConfig,
  type RawHeader,
  type RawProof,
  type SendResult,
} from "@cloister/market";
import { hex } from "./chain-reader.ts";
import { openIndexer, type Indexer } from "./indexer.ts";
import { connectJsonRpc, type JsonRpc } from "./json-rpc.ts";
import { Sender } from "./sender.ts";

/** How to reach a chain and where our contracts are on it. */
export interface ChainOptions {
  readonly rpcUrl: string;
  readonly deployment: Deployment;
  /** Makes the index survive restarts. */
  readonly records?: RecordStore | undefined;
  readonly log?: Log | undefined;
}

/**
 * Opens a chain over JSON-RPC.
 * @throws {CloisterError} `CHAIN_UNREACHABLE`, `CHAIN_ID_MISMATCH`
 */
export async function openChain(options: ChainOptions): Promise<Chain> {
  const { rpcUrl, deployment, records, log } = options;
  const rpc = await connectChain(rpcUrl, deployment.chainId);
  const indexer = await openIndexer({ rpc, deployment, records, log });
  return new RpcChain(rpc, deployment, indexer);
}

/** Deployed contracts are looked for between two attempts, so the deployment may be interrupted anywhere. */
export interface DeployOptions {
  readonly rpcUrl: string;
  readonly config: DeploymentConfig;
  readonly secret: Uint8Array;
  /** The deployer's nonce when the deployment was first tried; absent: now. Keep it, to go on after a crash. */
  readonly nonce?: number | undefined;
  readonly fromBlock?: number | undefined;
}

/**
 * Deploys the contracts, or finds that they are there.
 * @throws {CloisterError} `CHAIN_UNREACHABLE`, `CHAIN_REVERTED`, `INSUFFICIENT_FUNDS`, `DEPLOYER_NONCE_TAKEN`
 */
export async function deploy(options: DeployOptions): Promise<Deployment> {
  const rpc = connectJsonRpc(options.rpcUrl);
  const chainId = Number(await rpc.request<`0x${string}`>("eth_chainId", []));
  const deployer = addressOfSecret(options.secret);
  const nonce = options.nonce ?? (await nonceOf(rpc, deployer));
  const fromBlock = options.fromBlock ?? Number(await rpc.request<`0x${string}`>("eth_blockNumber", []));
  const plan = planDeployment(options.config, deployer, nonce);
  const sender = new Sender(rpc, chainId);
  for (const creation of plan.creations) await create(rpc, sender, creation, options.secret);
  return { chainId, ...plan.addresses, fromBlock };
}

async function create(rpc: JsonRpc, sender: Sender, creation: Creation, secret: Uint8Array): Promise<void> {
  const { name, address, data, nonce } = creation;
  const exists = async (): Promise<boolean> => (await codeAt(rpc, address)) !== "0x";
  if (!(await exists()) && (await nonceOf(rpc, addressOfSecret(secret))) > nonce) {
    const message = `The ${name} contract cannot be deployed: another transaction took the deployer's nonce ${nonce}.`;
    throw new CloisterError("DEPLOYER_NONCE_TAKEN", message, {
      hint: "Deploy anew, with an account that sends nothing else meanwhile.",
    });
  }
  await sender.send({ name: `deploy ${name}`, data, valueWei: 0n, nonce }, secret, exists);
}

class RpcChain implements Chain {
  readonly deployment: Deployment;
  readonly #rpc: JsonRpc;
  readonly #indexer: Indexer;
  readonly #sender: Sender;

  constructor(rpc: JsonRpc, deployment: Deployment, indexer: Indexer) {
    this.#rpc = rpc;
    this.deployment = deployment;
    this.#indexer = indexer;
    this.#sender = new Sender(rpc, deployment.chainId);
  }

  refresh(): Promise<ChainView> {
    return this.#indexer.refresh();
  }

  view(): ChainView | undefined {
    return this.#indexer.view();
  }

  send(call: Call, secret: Uint8Array): Promise<SendResult> {
    return this.#sender.send(call, secret, async () => call.done((await this.refresh()).state));
  }

  sendAtOnce(call: Call, secret: Uint8Array, onSent?: () => void): Promise<SendResult> {
    let looked = false;
    const isDone = async (): Promise<boolean> => {
      const seen = looked ? undefined : this.view();
      looked = true;
      return call.done((seen ?? (await this.refresh())).state);
    };
    return this.#sender.send(call, secret, isDone, onSent);
  }

  transfer(to: Address, amountWei: bigint, secret: Uint8Array): Promise<SendResult> {
    const outgoing = { name: "transfer", to, data: "0x", valueWei: amountWei } as const;
    return this.#sender.send(outgoing, secret, async () => false);
  }

  async coinOf(account: Address): Promise<bigint> {
    return BigInt(await this.#rpc.request<`0x${string}`>("eth_getBalance", [account, "latest"]));
  }

  getProof(address: Address, slots: readonly Hex32[], block: number): Promise<RawProof> {
    return this.#rpc.request<RawProof>("eth_getProof", [address, slots, hex(block)]);
  }

  async header(block: number | "latest"): Promise<RawHeader | undefined> {
    const tag = block === "latest" ? block : hex(block);
    const header = await this.#rpc.request<RawHeader | null>("eth_getBlockByNumber", [tag, false]);
    return header ?? undefined;
  }
}

/**
 * Speaks to a chain's node, once that has said which chain it serves.
 * @throws {CloisterError} `CHAIN_UNREACHABLE`, `CHAIN_ID_MISMATCH`
 */
export async function connectChain(rpcUrl: string, expected: number): Promise<JsonRpc> {
  const rpc = connectJsonRpc(rpcUrl);
  const got = Number(await rpc.request<`0x${string}`>("eth_chainId", []));
  if (got === expected) return rpc;
  throw new CloisterError("CHAIN_ID_MISMATCH", `The chain at ${rpc.url} is ${got}, not ${expected}.`, {
    hint: "Point to the chain that the contracts were deployed on.",
    details: { got, expected },
  });
}

async function codeAt(rpc: JsonRpc, address: Address): Promise<`0x${string}`> {
  return rpc.request<`0x${string}`>("eth_getCode", [address, "latest"]);
}

async function nonceOf(rpc: JsonRpc, account: Address): Promise<number> {
  return Number(await rpc.request<`0x${string}`>("eth_getTransactionCount", [account, "latest"]));
}
