/**
 * The table that finds blocks by the machine address of their first byte and the mode they are for; the loop, compiled
 * code and the translator share it. Two records stand for each hash value: with one, two blocks that are both in use and
 * share it would be decoded again and again.
 */
import { i32, type Value } from "../../wasm/expression.ts";
import type { FunctionWriter } from "../../wasm/function.ts";
import { BLOCK_HASH, HASH_CODE, HASH_ENTRIES, HASH_STRIDE } from "../memory-map.ts";

const PAIR = 2 * HASH_STRIDE;
const PAIRS = HASH_ENTRIES / 2;

/**
 * Generated code: the offset from BLOCK_HASH of the record of `machine` and `mode`; runs `missing`, which must leave,
 * when there is none.
 */
export function findBlock(f: FunctionWriter, machine: Value, mode: Value | number, missing: () => void): Value {
  const slot = f.temporary("i32");
  const isOther = (): Value =>
    i32.or(i32.xor(i32.load(slot.get, BLOCK_HASH), machine), i32.xor(i32.load(slot.get, BLOCK_HASH + 4), mode));
  f.set(slot, i32.mul(i32.and(i32.xor(machine, i32.shrU(machine, 15)), PAIRS - 1), PAIR));
  f.if(isOther(), () => {
    f.set(slot, i32.add(slot.get, HASH_STRIDE));
    f.if(isOther(), missing);
  });
  return slot.get;
}

/** Word index of the first record that `machine` may have. */
function pairAt(machine: number): number {
  return (BLOCK_HASH + ((machine ^ (machine >>> 15)) & (PAIRS - 1)) * PAIR) >> 2;
}

const WORDS = HASH_STRIDE >> 2;

/** Word index of the record of `machine` and `mode`, or -1. */
export function hashRecord(memory: Int32Array, machine: number, mode: number): number {
  const at = pairAt(machine);
  if (memory[at] === machine && memory[at + 1] === mode) return at;
  const second = at + WORDS;
  return memory[second] === machine && memory[second + 1] === mode ? second : -1;
}

/** Enter a block with the compiled code that begins at it, or 0; of two others in its place the older one goes. */
export function enterBlock(memory: Int32Array, machine: number, mode: number, block: number, code: number): void {
  const first = pairAt(machine);
  let at = hashRecord(memory, machine, mode);
  if (at < 0) {
    if (memory[first] !== 0) memory.copyWithin(first + WORDS, first, first + WORDS);
    at = first;
  }
  memory[at] = machine;
  memory[at + 1] = mode;
  memory[at + 2] = block;
  memory[at + (HASH_CODE >> 2)] = code;
}
