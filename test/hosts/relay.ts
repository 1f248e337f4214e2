/** The relay's process: links as it is told over its parent's channel, so that no other work delays them. */
import { Link, type LinkPlan, type LinkTreatment } from "./link.ts";

export type RelayOrder =
  | { readonly kind: "open"; readonly links: readonly LinkPlan[] }
  | { readonly kind: "treat"; readonly names: readonly string[]; readonly treatment: LinkTreatment };

const links = new Map<string, Link>();

process.on("message", (message: { readonly id: number; readonly order: RelayOrder }) => {
  void carryOut(message.order).then(
    () => process.send?.({ id: message.id }),
    (error: Error) => process.send?.({ id: message.id, error: error.message }),
  );
});
process.on("disconnect", () => process.exit(0));

async function carryOut(order: RelayOrder): Promise<void> {
  if (order.kind === "treat") {
    for (const name of order.names) links.get(name)?.treat(order.treatment);
    return;
  }
  for (const plan of order.links) {
    const link = new Link(plan);
    await link.open();
    links.set(plan.name, link);
  }
}
