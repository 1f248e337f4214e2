export type { HostEvent } from "./events.ts";
export { Fleet, type FleetNode } from "./fleet.ts";
export { HEALING_GOAL, Mishaps, type Healing } from "./healing.ts";
export type { LinkPlan } from "./link.ts";
export { OrderBook } from "./orders.ts";
export { freePorts } from "./ports.ts";
export { SteeredProcess } from "./process.ts";
export { Relay } from "./relay-control.ts";
