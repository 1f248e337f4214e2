export type { HostEvent } from "./events.ts";
export { Fleet, type FleetNode } from "./fleet.ts";
export { runHealing, SCENES } from "./healing-suite.ts";
export { withHome } from "./home.ts";
export type { LinkPlan } from "./link.ts";
export { OrderBook } from "./orders.ts";
export { freePorts } from "./ports.ts";
export { SteeredProcess } from "./process.ts";
export { Relay } from "./relay-control.ts";
