/** Guests that run random code, and what is compared of them. */
import { code, number } from "../fuzz/code.ts";
import { Random } from "../oracle/random.ts";
import { AT, Guest } from "./guest.ts";

/** What the page tables of a guest map. */
const MAPPED = 4 << 20;

const PARTS = ["selector", "base", "limit", "ar"] as const;
const BOUNDS = ["readLow", "readHigh", "writeLow", "writeHigh"] as const;

/** Registers, flags and segments, and a digest of memory. */
export function fingerprint(guest: Guest): unknown {
  const { cpu, machine } = guest;
  let digest = 0;
  const words = new Int32Array(machine.memory.buffer, machine.memory.byteOffset, MAPPED >> 2);
  for (const word of words) digest = (Math.imul(digest, 31) + word) | 0;
  const registers = ["eax", "ecx", "edx", "ebx", "esp", "ebp", "esi", "edi", "eip", "eflags"].map((r) => guest.get(r));
  const segments = [0, 1, 2, 3, 4, 5].map((s) => PARTS.map((part) => cpu.segment(s, part)));
  const bounds = [0, 1, 2, 3, 4, 5].map((s) => BOUNDS.map((bound) => cpu.bound(s, bound)));
  return [registers, segments, bounds, cpu.get("cr2"), cpu.cpl, cpu.get("modeKey"), cpu.get("vectorGate"), digest];
}

/** A guest with random code whose exceptions go to code that skips ahead, so that it keeps going. */
export function randomGuest(seed: number): Guest {
  const random = new Random(seed);
  const guest = new Guest(random.oneIn(2) ? "user32" : "protected32");
  guest.page();
  const text = code(random, 32, 0x8000);
  guest.machine.memory.set(text, AT.code);
  for (let vector = 0; vector < 256; vector++) guest.gate(vector, 0xee, undefined, AT.code + random.below(0x8000));
  for (const register of ["eax", "ecx", "edx", "ebx", "esi", "edi", "ebp"])
    guest.set(register, number(random) % 0x300000);
  guest.set("eip", AT.code + random.below(0x8000));
  guest.machine.invalidate();
  return guest;
}
