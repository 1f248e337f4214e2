import { CloisterError } from "./errors.ts";

declare const idBrand: unique symbol;
type Branded<T, Name> = T & { readonly [idBrand]: Name };

/** An EVM address, lower case. */
export type Address = Branded<`0x${string}`, "Address">;

/** 32 bytes as `0x…`, lower case: what contracts call `bytes32`. */
export type Hex32 = Branded<`0x${string}`, "Hex32">;

/** A node: the EVM address of the key that its CVM made and that the registry admitted. */
export type NodeId = Branded<`0x${string}`, "Address"> & { readonly node?: never };

/** An order's id, 32 bytes as `0x…`. */
export type OrderId = Hex32 & { readonly order?: never };

/** An offer's id, 32 bytes as `0x…`. */
export type OfferId = Hex32 & { readonly offer?: never };

/** @throws {CloisterError} `ADDRESS_MALFORMED` */
export function parseAddress(text: string): Address {
  if (!/^0x[0-9a-fA-F]{40}$/.test(text)) {
    throw new CloisterError("ADDRESS_MALFORMED", `"${text.slice(0, 80)}" is not an address.`, {
      hint: "An address is 0x followed by 40 hex digits.",
    });
  }
  return text.toLowerCase() as Address;
}

/** @throws {CloisterError} `ID_MALFORMED` */
export function parseHex32(text: string): Hex32 {
  if (!/^0x[0-9a-fA-F]{64}$/.test(text)) {
    throw new CloisterError("ID_MALFORMED", `"${text.slice(0, 80)}" is not an id.`, {
      hint: "An id is 0x followed by 64 hex digits.",
    });
  }
  return text.toLowerCase() as Hex32;
}
