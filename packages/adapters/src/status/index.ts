import { createServer, type Server } from "node:http";
import { Gauge, Registry } from "prom-client";
import { CloisterError } from "@cloister/core";

/** What a process shows of itself on loopback: facts for people and numbers for Prometheus. Nothing secret. */
export interface StatusSource {
  status(): Readonly<Record<string, unknown>>;
  metrics(): Readonly<Record<string, number>>;
}

/**
 * Serves `/status` (JSON), `/metrics` (Prometheus text) and `/healthz`, read-only, on 127.0.0.1.
 * @throws {CloisterError} `PORT_IN_USE`
 */
export async function serveStatus(port: number, source: StatusSource): Promise<{ port: number; close(): void }> {
  const server = createServer((request, response) => {
    const path = new URL(request.url ?? "/", "http://localhost").pathname;
    if (request.method !== "GET") return response.writeHead(405, { allow: "GET" }).end();
    if (path === "/healthz") return response.writeHead(200, { "content-type": "text/plain" }).end("ok\n");
    if (path === "/status") {
      return response.writeHead(200, { "content-type": "application/json" }).end(toJson(source.status()));
    }
    if (path === "/metrics") {
      return void prometheus(source).then((text) =>
        response.writeHead(200, { "content-type": "text/plain; version=0.0.4" }).end(text),
      );
    }
    return response.writeHead(404, { "content-type": "text/plain" }).end("Try /status, /metrics or /healthz.\n");
  });
  await listen(server, port);
  return { port: (server.address() as { port: number }).port, close: () => void server.close() };
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
    new Gauge({ name: `cloister_${name}`, help: name.replaceAll("_", " "), registers: [registry] }).set(value);
  }
  return registry.metrics();
}

function toJson(value: unknown): string {
  return JSON.stringify(value, (_, member: unknown) => (typeof member === "bigint" ? member.toString() : member));
}
