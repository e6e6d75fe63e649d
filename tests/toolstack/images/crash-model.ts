/**
 * What may be in an image after its program was killed: each piece holds what was flushed last, or something that was written
 * to it later.
 */
import assert from "node:assert/strict";
import type { BlockBackend } from "../../../src/hypervisor/backend.ts";
import { randomNumbers } from "./random-operations.ts";

/** Unit of writes, and of what is written as a whole or not at all. */
export const SLOT = 4096;
export const SECTOR = 512;

export type Operation =
  | { readonly kind: "write"; readonly slot: number; readonly count: number; readonly version: number }
  | { readonly kind: "discard"; readonly slot: number; readonly count: number }
  | { readonly kind: "flush" };

/** An endless row of operations, the same for each seed. Versions count from `version`. */
export function* operations(seed: number, slots: number, version: number): Generator<Operation> {
  const random = randomNumbers(seed);
  for (let next = version; ; next++) {
    const choice = random(100);
    const slot = random(slots);
    const count = 1 + random(Math.min(8, slots - slot));
    if (choice < 70) yield { kind: "write", slot, count, version: next };
    else if (choice < 85) yield { kind: "discard", slot, count };
    else yield { kind: "flush" };
  }
}

/** Bytes of a sector that says what was written to it. */
export function sectorContents(slot: number, version: number): Uint8Array {
  const bytes = new Uint8Array(SECTOR);
  const words = new Uint32Array(bytes.buffer);
  if (version > 0) words.fill(version ^ (slot << 20));
  return bytes;
}

/** Do one operation. */
export async function perform(disk: BlockBackend, operation: Operation): Promise<void> {
  if (operation.kind === "flush") return disk.flush();
  const { slot, count } = operation;
  if (operation.kind === "discard") return disk.discard(slot * SLOT, count * SLOT);
  const bytes = new Uint8Array(count * SLOT);
  for (let at = 0; at < bytes.length; at += SECTOR) {
    bytes.set(sectorContents(slot + Math.floor(at / SLOT), operation.version), at);
  }
  return disk.write(slot * SLOT, bytes);
}

/** Versions that each sector may have. */
export class CrashModel {
  readonly #slots: number;
  readonly #possible: Set<number>[];

  constructor(slots: number) {
    this.#slots = slots;
    this.#possible = Array.from({ length: (slots * SLOT) / SECTOR }, () => new Set([0]));
  }

  get slots(): number {
    return this.#slots;
  }

  /** An operation was begun; one that was flushed leaves only itself. Discards may leave anything as it was. */
  apply(operation: Operation, flushed: boolean): void {
    if (operation.kind === "flush") return;
    const perSlot = SLOT / SECTOR;
    for (let at = operation.slot * perSlot; at < (operation.slot + operation.count) * perSlot; at++) {
      const possible = this.#possible[at]!;
      if (operation.kind === "discard") possible.add(0);
      else {
        if (flushed) possible.clear();
        possible.add(operation.version);
      }
    }
  }

  /** Compare with a disk, and take what it has for the only truth from now on. */
  async settle(disk: BlockBackend, where: string): Promise<void> {
    const bytes = new Uint8Array(this.#slots * SLOT);
    await disk.read(0, bytes);
    this.#possible.forEach((possible, index) => {
      const sector = bytes.subarray(index * SECTOR, (index + 1) * SECTOR);
      const slot = Math.floor((index * SECTOR) / SLOT);
      const found = [...possible].find((version) => Buffer.compare(sectorContents(slot, version), sector) === 0);
      const first = new DataView(sector.buffer, sector.byteOffset).getUint32(0, true) ^ (slot << 20);
      assert.ok(found !== undefined, `${where}: sector ${index} holds ${first}, possible are ${[...possible].join()}`);
      possible.clear();
      possible.add(found);
    });
  }
}
