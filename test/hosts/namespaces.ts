import { execFileSync } from "node:child_process";
import { randomInt } from "node:crypto";
import { atEnd } from "./at-end.ts";
import type { Ground } from "./fleet.ts";

/**
 * Network namespaces that are joined by a bridge: each node has an address and a network stack of its own, so
 * that links can be cut where packets pass. Needs root; everything made is taken away by `remove`.
 */
export class Namespaces implements Ground {
  readonly center: string;
  readonly #tag = randomInt(0x1000, 0xffff).toString(16);
  readonly #net = `10.${randomInt(100, 250)}.${randomInt(1, 250)}`;
  readonly #count: number;
  readonly #removed = atEnd(() => this.remove());

  private constructor(count: number) {
    this.#count = count;
    this.center = `${this.#net}.254`;
  }

  /** Why this machine cannot have namespaces; undefined when it can. */
  static lacking(): string | undefined {
    if (process.getuid?.() !== 0) return "not root";
    try {
      execFileSync("ip", ["-V"], { stdio: "ignore" });
      execFileSync("nft", ["--version"], { stdio: "ignore" });
    } catch {
      return "ip or nft is not installed";
    }
    return undefined;
  }

  static make(count: number): Namespaces {
    const made = new Namespaces(count);
    try {
      made.#make();
      return made;
    } catch (error) {
      made.remove();
      throw error;
    }
  }

  addressOf(index: number): string {
    return `${this.#net}.${index + 1}`;
  }

  prefix(index: number): readonly string[] {
    return ["ip", "netns", "exec", this.#name(index)];
  }

  /** Drops every packet between two sides, or lets them pass again. */
  cut(some: readonly number[], others: readonly number[], isCut: boolean): void {
    const addresses = others.map((index) => this.addressOf(index)).join(", ");
    const rules = `table inet cut {
      chain in { type filter hook input priority 0; ip saddr { ${addresses} } drop; }
      chain out { type filter hook output priority 0; ip daddr { ${addresses} } drop; }
    }`;
    for (const index of some) {
      const args = [
        "netns",
        "exec",
        this.#name(index),
        "nft",
        ...(isCut ? ["-f", "-"] : ["delete table inet cut"]),
      ];
      execFileSync("ip", args, { input: isCut ? rules : "" });
    }
  }

  /** Takes a node's only link down, or up again. */
  link(index: number, state: "up" | "down"): void {
    ip("-n", this.#name(index), "link", "set", "eth0", state);
  }

  remove(): void {
    for (let index = 0; index < this.#count; index++) quietly("netns", "del", this.#name(index));
    quietly("link", "del", this.#bridge());
    this.#removed();
  }

  #make(): void {
    ip("link", "add", this.#bridge(), "type", "bridge");
    ip("addr", "add", `${this.center}/24`, "dev", this.#bridge());
    ip("link", "set", this.#bridge(), "up");
    for (let index = 0; index < this.#count; index++) {
      const name = this.#name(index);
      const outer = `clv${this.#tag}-${index}`;
      ip("netns", "add", name);
      ip("link", "add", outer, "type", "veth", "peer", "name", "eth0", "netns", name);
      ip("link", "set", outer, "master", this.#bridge(), "up");
      ip("-n", name, "addr", "add", `${this.addressOf(index)}/24`, "dev", "eth0");
      ip("-n", name, "link", "set", "eth0", "up");
      ip("-n", name, "link", "set", "lo", "up");
    }
  }

  #name(index: number): string {
    return `cloister-${this.#tag}-${index}`;
  }

  #bridge(): string {
    return `clb${this.#tag}`;
  }
}

function ip(...args: string[]): void {
  execFileSync("ip", args, { stdio: ["ignore", "ignore", "inherit"] });
}

function quietly(...args: string[]): void {
  try {
    execFileSync("ip", args, { stdio: "ignore" });
  } catch {
    // It was not made, or went with something that is gone already.
  }
}
