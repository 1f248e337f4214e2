import { createServer, type Server } from "node:http";
import { CloisterError } from "@cloister/core";
import type { Metric } from "@cloister/node";
import { processMetrics } from "./process.ts";
import { renderMetrics } from "./prometheus.ts";

/** What a process shows of itself on loopback: facts for people and numbers for Prometheus. Nothing secret. */
export interface StatusSource {
  status(): Readonly<Record<string, unknown>>;
  metrics(): readonly Metric[];
  /** The proof file of an order, where there is one. */
  proof?(orderId: string): Uint8Array | undefined;
  /** How an order ended on this node, where it did. */
  order?(orderId: string): Promise<Readonly<Record<string, unknown>> | undefined>;
  /** A part of the transparency log that this process keeps, by its C2SP path without the leading slash. */
  resource?(path: string): Promise<Uint8Array | undefined>;
}

/**
 * Serves `/status` (JSON), `/metrics` (Prometheus text), `/healthz`, `/orders/ORDER` and `/proofs/ORDER`, read-only, on the address of this machine alone unless
 * another is given.
 * Who keeps the transparency log also serves `/checkpoint`, `/tile/…`, `/authority` and `/crl`
 * (spec/transparency-log.md §6).
 * @throws {CloisterError} `PORT_IN_USE`
 */
export async function serveStatus(
  port: number,
  source: StatusSource,
  host = "127.0.0.1",
): Promise<{ port: number; close(): void }> {
  const ofProcess = processMetrics();
  const server = createServer({ requestTimeout: REQUEST_MS_MAX }, (request, response) => {
    const path = URL.parse(request.url ?? "/", "http://localhost")?.pathname;
    const answered =
      path === undefined ? Promise.resolve(NOTHING) : answer(source, ofProcess, request.method, path);
    void answered.then(
      ({ code, type, body }) => response.writeHead(code, { "content-type": type }).end(body),
      () => response.writeHead(500).end(),
    );
  });
  server.maxConnections = CONNECTIONS_MAX;
  server.headersTimeout = REQUEST_MS_MAX;
  await listen(server, port, host);
  return { port: (server.address() as { port: number }).port, close: () => void server.close() };
}

interface Answer {
  readonly code: number;
  readonly type: string;
  readonly body: string | Uint8Array;
}

/** Long enough for any tile there can be. */
const LOG_PATH = /^\/(checkpoint|authority|crl|tile\/[a-z0-9./]{1,64})$/;
const TEXT = "text/plain; charset=utf-8";
const METRICS = "text/plain; version=0.0.4; charset=utf-8";
/** A reader has so long to ask and to read; the page is small, and those who read it are near. */
const REQUEST_MS_MAX = 10_000;
const CONNECTIONS_MAX = 256;
const NOTHING: Answer = { code: 400, type: TEXT, body: "That is no path.\n" };

async function answer(
  source: StatusSource,
  ofProcess: () => Metric[],
  method: string | undefined,
  path: string,
): Promise<Answer> {
  if (method !== "GET") return { code: 405, type: TEXT, body: "Only GET is answered here.\n" };
  if (path === "/healthz") return { code: 200, type: TEXT, body: "ok\n" };
  if (path === "/status") return { code: 200, type: "application/json", body: toJson(source.status()) };
  if (path === "/metrics")
    return { code: 200, type: METRICS, body: renderMetrics([...source.metrics(), ...ofProcess()]) };
  const [, what, orderId = ""] = /^\/(proofs|orders)\/(0x[0-9a-f]{64})$/.exec(path) ?? [];
  const proof = what === "proofs" ? source.proof?.(orderId) : undefined;
  if (proof !== undefined) return { code: 200, type: "application/octet-stream", body: proof };
  const order = what === "orders" ? await source.order?.(orderId) : undefined;
  if (order !== undefined) return { code: 200, type: "application/json", body: toJson(order) };
  const resource = LOG_PATH.test(path) ? await source.resource?.(path.slice(1)) : undefined;
  if (resource !== undefined) return { code: 200, type: "application/octet-stream", body: resource };
  return {
    code: 404,
    type: TEXT,
    body: "Try /status, /metrics, /healthz, /orders/ORDER or /proofs/ORDER.\n",
  };
}

function listen(server: Server, port: number, host: string): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once("error", (cause) =>
      reject(
        new CloisterError("PORT_IN_USE", `Port ${port} on ${host} is taken by another program.`, {
          hint: "Stop that program, or choose other ports with --port-base.",
          cause,
        }),
      ),
    );
    server.listen(port, host, resolve);
  });
}

function toJson(value: unknown): string {
  return JSON.stringify(value, (_, member: unknown) =>
    typeof member === "bigint" ? member.toString() : member,
  );
}
