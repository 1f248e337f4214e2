export { ChainReader, type ReaderOptions, type ReadProgress } from "./chain-reader.ts";
export { connectChain, deploy, openChain, type ChainOptions, type DeployOptions } from "./chain.ts";
export { openIndexer, type Indexer, type IndexerOptions } from "./indexer.ts";
export { rehearseSigning } from "./sender.ts";
export { connectJsonRpc, JsonRpcError, type JsonRpc } from "./json-rpc.ts";
