import { CloisterError } from "@cloister/core";
import { BaseError, http, RpcRequestError } from "viem";

/** Answers of a chain's node may take this long. */
const TIMEOUT_MS = 20_000;

/** Asks one node of a chain. */
export interface JsonRpc {
  readonly url: string;
  /** @throws {CloisterError} `CHAIN_UNREACHABLE`; {JsonRpcError} when the node answers with an error. */
  request<T>(method: string, params: readonly unknown[]): Promise<T>;
}

/** An error that the node itself answered. */
export class JsonRpcError extends Error {
  override readonly name = "JsonRpcError";
  readonly code = "CHAIN_RPC_ERROR";
  readonly method: string;
  /** What a call reverted with, where that was the reason. */
  readonly data: `0x${string}` | undefined;

  constructor(method: string, message: string, data: `0x${string}` | undefined) {
    super(message);
    this.method = method;
    this.data = data;
  }
}

/** Speaks JSON-RPC over HTTP. The loops above ask again, so nothing is retried here. */
export function connectJsonRpc(url: string): JsonRpc {
  const transport = http(url, { retryCount: 0, timeout: TIMEOUT_MS })({});
  return {
    url,
    async request<T>(method: string, params: readonly unknown[]): Promise<T> {
      try {
        return (await transport.request({ method, params })) as T;
      } catch (error) {
        throw translated(url, method, error);
      }
    },
  };
}

function translated(url: string, method: string, error: unknown): Error {
  const answered = answeredError(error);
  if (answered !== undefined) {
    return new JsonRpcError(method, answered.details || answered.shortMessage, revertData(answered.data));
  }
  return new CloisterError("CHAIN_UNREACHABLE", `The chain at ${url} does not answer.`, {
    hint: "Start it (`cloister up` starts a local one) or check the address of its JSON-RPC endpoint.",
    cause: error,
    details: { method },
  });
}

/** An error that a node answered may lie in one of viem's own, for the codes that it has a class for. */
function answeredError(error: unknown): RpcRequestError | undefined {
  if (!(error instanceof BaseError)) return undefined;
  const found = error.walk((inner) => inner instanceof RpcRequestError);
  return found instanceof RpcRequestError ? found : undefined;
}

function revertData(data: unknown): `0x${string}` | undefined {
  if (typeof data === "string" && data.startsWith("0x")) return data as `0x${string}`;
  if (typeof data === "object" && data !== null && "data" in data) return revertData(data.data);
  return undefined;
}
