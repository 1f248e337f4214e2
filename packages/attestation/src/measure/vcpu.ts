import { CloisterError } from "@cloister/core";

/** Family, model and stepping of the CPU models that QEMU offers to SNP guests (target/i386/cpu.c). */
const MODELS: Readonly<Record<string, readonly [family: number, model: number, stepping: number]>> = {
  EPYC: [23, 1, 2],
  "EPYC-v1": [23, 1, 2],
  "EPYC-v2": [23, 1, 2],
  "EPYC-IBPB": [23, 1, 2],
  "EPYC-v3": [23, 1, 2],
  "EPYC-v4": [23, 1, 2],
  "EPYC-v5": [23, 1, 2],
  "EPYC-Rome": [23, 49, 0],
  "EPYC-Rome-v1": [23, 49, 0],
  "EPYC-Rome-v2": [23, 49, 0],
  "EPYC-Rome-v3": [23, 49, 0],
  "EPYC-Rome-v4": [23, 49, 0],
  "EPYC-Rome-v5": [23, 49, 0],
  "EPYC-Milan": [25, 1, 1],
  "EPYC-Milan-v1": [25, 1, 1],
  "EPYC-Milan-v2": [25, 1, 1],
  "EPYC-Milan-v3": [25, 1, 1],
  "EPYC-Genoa": [25, 17, 0],
  "EPYC-Genoa-v1": [25, 17, 0],
  "EPYC-Genoa-v2": [25, 17, 0],
  "EPYC-Turin": [26, 0, 0],
  "EPYC-Turin-v1": [26, 0, 0],
};

/** The names `vcpuSignature` knows. */
export const vcpuTypes: readonly string[] = Object.keys(MODELS);

/**
 * The CPUID signature of a QEMU CPU model.
 * @throws {CloisterError} `MEASURE_VCPU_UNKNOWN`
 */
export function vcpuSignature(vcpuType: string): number {
  const model = Object.hasOwn(MODELS, vcpuType) ? MODELS[vcpuType] : undefined;
  if (model === undefined) {
    throw new CloisterError(
      "MEASURE_VCPU_UNKNOWN",
      `The vCPU type "${vcpuType.slice(0, 40)}" is not known.`,
      {
        hint: `Known are ${vcpuTypes.join(", ")}; or give family, model and stepping.`,
      },
    );
  }
  return cpuidSignature(...model);
}

/** CPUID Fn0000_0001_EAX: family above 15 and model above 15 go into the extended fields (AMD 25481). */
export function cpuidSignature(family: number, model: number, stepping: number): number {
  const extendedFamily = family > 15 ? family - 15 : 0;
  return (
    (extendedFamily << 20) |
    ((model >> 4) << 16) |
    (Math.min(family, 15) << 8) |
    ((model & 15) << 4) |
    (stepping & 15)
  );
}
