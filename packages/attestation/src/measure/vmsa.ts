/** The VMM that starts the guest. They differ in the registers that a vCPU starts with. */
export type Vmm = "qemu" | "ec2" | "gce";

const PAGE_BYTES = 4096;
/** Where the x86 boot processor starts. */
const RESET_VECTOR = 0xfffffff0;

interface StartState {
  readonly csAttributes: number;
  readonly ssAttributes: number;
  readonly trAttributes: number;
  readonly pat: bigint;
  readonly rdx: number;
  readonly mxcsr: number;
  readonly fcw: number;
}

/**
 * Builds the page that holds a vCPU's first state, as the launch digest measures it (AMD 24593,
 * Table B-4 for the layout). `eip` is the reset vector for the boot processor and comes from the
 * firmware's SEV-ES reset block for the others.
 */
export function vmsaPage(vcpu: {
  eip: number;
  signature: number;
  guestFeatures: bigint;
  vmm: Vmm;
}): Uint8Array {
  const page = new Uint8Array(PAGE_BYTES);
  const view = new DataView(page.buffer);
  const start = startState(vcpu.vmm, vcpu.eip, vcpu.signature);
  const segment = (at: number, selector: number, attributes: number, limit: number, base: number): void => {
    view.setUint16(at, selector, true);
    view.setUint16(at + 2, attributes, true);
    view.setUint32(at + 4, limit, true);
    view.setBigUint64(at + 8, BigInt(base), true);
  };
  segment(0x00, 0, 0x93, 0xffff, 0); // ES
  segment(0x10, 0xf000, start.csAttributes, 0xffff, (vcpu.eip & 0xffff0000) >>> 0);
  segment(0x20, 0, start.ssAttributes, 0xffff, 0);
  for (const at of [0x30, 0x40, 0x50]) segment(at, 0, 0x93, 0xffff, 0); // DS, FS, GS
  segment(0x60, 0, 0, 0xffff, 0); // GDTR
  segment(0x70, 0, 0x82, 0xffff, 0); // LDTR
  segment(0x80, 0, 0, 0xffff, 0); // IDTR
  segment(0x90, 0, start.trAttributes, 0xffff, 0);
  const register = (at: number, value: bigint): void => view.setBigUint64(at, value, true);
  register(0x0d0, 0x1000n); // EFER: SVME, which KVM sets
  register(0x148, 0x40n); // CR4: MCE, which KVM sets
  register(0x158, 0x10n); // CR0
  register(0x160, 0x400n); // DR7
  register(0x168, 0xffff0ff0n); // DR6
  register(0x170, 0x2n); // RFLAGS
  register(0x178, BigInt(vcpu.eip & 0xffff)); // RIP
  register(0x268, start.pat);
  register(0x310, BigInt(start.rdx));
  register(0x3b0, vcpu.guestFeatures);
  register(0x3e8, 0x1n); // XCR0
  view.setUint32(0x408, start.mxcsr, true);
  view.setUint16(0x410, start.fcw, true);
  return page;
}

/** The page of a vCPU that COCONUT-SVSM starts at `eip`, in flat 32-bit mode as its IGVM-less loader wants it. */
export function svsmVmsaPage(eip: number, signature: number): Uint8Array {
  const page = vmsaPage({ eip, signature, guestFeatures: 1n, vmm: "qemu" });
  const view = new DataView(page.buffer);
  const flat = (at: number, selector: number, attributes: number): void => {
    view.setUint16(at, selector, true);
    view.setUint16(at + 2, attributes, true);
    view.setUint32(at + 4, 0xffffffff, true);
    view.setBigUint64(at + 8, 0n, true);
  };
  for (const at of [0x00, 0x20, 0x30, 0x40]) flat(at, 16, 0xc93); // ES, SS, DS, FS
  flat(0x10, 8, 0xc9b); // CS
  view.setBigUint64(0x158, 0x11n, true); // CR0: protected mode
  view.setBigUint64(0x178, BigInt(eip), true); // RIP
  view.setUint16(0x410, 0, true); // FCW
  return page;
}

/** The boot processor's page, then the page that every other processor shares. */
export function vmsaPages(guest: { resetEip: number; signature: number; guestFeatures: bigint; vmm: Vmm }): {
  readonly boot: Uint8Array;
  readonly others: Uint8Array;
} {
  return {
    boot: vmsaPage({ ...guest, eip: RESET_VECTOR }),
    others: vmsaPage({ ...guest, eip: guest.resetEip }),
  };
}

function startState(vmm: Vmm, eip: number, signature: number): StartState {
  switch (vmm) {
    case "qemu":
      return {
        csAttributes: 0x9b,
        ssAttributes: 0x93,
        trAttributes: 0x8b,
        pat: 0x7040600070406n,
        rdx: signature,
        mxcsr: 0x1f80,
        fcw: 0x37f,
      };
    case "ec2":
      return {
        csAttributes: eip === RESET_VECTOR ? 0x9a : 0x9b,
        ssAttributes: 0x92,
        trAttributes: 0x83,
        pat: 0x7040600070406n,
        rdx: 0x600,
        mxcsr: 0,
        fcw: 0,
      };
    case "gce":
      return {
        csAttributes: 0x9b,
        ssAttributes: 0x93,
        trAttributes: 0x8b,
        pat: 0x70106n,
        rdx: 0x600,
        mxcsr: 0,
        fcw: 0,
      };
  }
}
