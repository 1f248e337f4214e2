import { createServer, type Server } from "node:http";
import { Gauge, Registry } from "prom-client";
import { CloisterError } from "@cloister/core";

/** What a process shows of itself on loopback: facts for people and numbers for Prometheus. Nothing secret. */
export interface StatusSource {
  status(): Readonly<Record<string, unknown>>;
  metrics(): Readonly<Record<string, number>>;
  /** The proof file of an order, where there is one. */
  proof?(orderId: string): Uint8Array | undefined;
  /** How an order ended on this node, where it did. */
  order?(orderId: string): Promise<Readonly<Record<string, unknown>> | undefined>;
  /** A part of the transparency log that this process keeps, by its C2SP path without the leading slash. */
  resource?(path: string): Promise<Uint8Array | undefined>;
}

/**
 * Serves `/status` (JSON), `/metrics` (Prometheus text), `/healthz`, `/orders/ORDER` and `/proofs/ORDER`, read-only, on 127.0.0.1.
 * Who keeps the transparency log also serves `/checkpoint`, `/tile/…` and `/authority` (spec/transparency-log.md §6).
 * @throws {CloisterError} `PORT_IN_USE`
 */
export async function serveStatus(
  port: number,
  source: StatusSource,
): Promise<{ port: number; close(): void }> {
  const server = createServer((request, response) => {
    void answer(source, request.method, new URL(request.url ?? "/", "http://localhost").pathname).then(
      ({ code, type, body }) => response.writeHead(code, { "content-type": type }).end(body),
      () => response.writeHead(500).end(),
    );
  });
  await listen(server, port);
  return { port: (server.address() as { port: number }).port, close: () => void server.close() };
}

interface Answer {
  readonly code: number;
  readonly type: string;
  readonly body: string | Uint8Array;
}

/** Long enough for any tile there can be. */
const LOG_PATH = /^\/(checkpoint|authority|tile\/[a-z0-9./]{1,64})$/;
const TEXT = "text/plain; charset=utf-8";

async function answer(source: StatusSource, method: string | undefined, path: string): Promise<Answer> {
  if (method !== "GET") return { code: 405, type: TEXT, body: "Only GET is answered here.\n" };
  if (path === "/healthz") return { code: 200, type: TEXT, body: "ok\n" };
  if (path === "/status") return { code: 200, type: "application/json", body: toJson(source.status()) };
  if (path === "/metrics")
    return { code: 200, type: `${TEXT}; version=0.0.4`, body: await prometheus(source) };
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

function listen(server: Server, port: number): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once("error", (cause) =>
      reject(
        new CloisterError("PORT_IN_USE", `Port ${port} on 127.0.0.1 is taken by another program.`, {
          hint: "Stop that program, or choose other ports with --port-base.",
          cause,
        }),
      ),
    );
    server.listen(port, "127.0.0.1", resolve);
  });
}

async function prometheus(source: StatusSource): Promise<string> {
  const registry = new Registry();
  for (const [name, value] of Object.entries(source.metrics())) {
    const words = name.replaceAll(/[^A-Za-z0-9]+/g, "_");
    new Gauge({ name: `cloister_${words}`, help: name, registers: [registry] }).set(value);
  }
  return registry.metrics();
}

function toJson(value: unknown): string {
  return JSON.stringify(value, (_, member: unknown) =>
    typeof member === "bigint" ? member.toString() : member,
  );
}
