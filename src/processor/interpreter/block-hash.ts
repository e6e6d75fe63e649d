/** The table that finds blocks by the machine address of their first byte; the loop and the translator share it. */
import { i32, type Value } from "../../wasm/expression.ts";
import { BLOCK_HASH, HASH_ENTRIES, HASH_STRIDE } from "../memory-map.ts";

/** Offset from BLOCK_HASH of the record for a machine address, in generated code. */
export function blockSlot(machine: Value): Value {
  return i32.mul(i32.and(i32.xor(machine, i32.shrU(machine, 15)), HASH_ENTRIES - 1), HASH_STRIDE);
}

/** Byte address of the hash record of a machine address: {machine address, mode key, block}. */
export function hashSlot(machine: number): number {
  return BLOCK_HASH + ((machine ^ (machine >>> 15)) & (HASH_ENTRIES - 1)) * HASH_STRIDE;
}
