/**
 * Notices a guest that does nothing but ask for a key or for the time, so that its processor can halt until the next
 * interrupt. Polls look idle when each finds every register as the last or last but one did, the same number of
 * instructions lies between them, and the screen stays as it is. A program that computes or draws between two polls is
 * not slowed down; a loop of more than a few hundred instructions never is.
 */
import type { Call } from "./call.ts";
import { EBDA } from "./layout.ts";

/** What the machine can tell about the guest beyond its registers. */
export interface Activity {
  /** Guest instructions executed so far. */
  instructions(): number;
  /** Changes whenever something visible changed. */
  displayGeneration(): number;
}

/** Instructions between two polls beyond which a loop is taken to do something. */
const MAX_GAP = 2000;
/** Idle-looking polls that it takes, and how many more are remembered. */
const ENOUGH = 300;
const MOST = 500;
/** What a poll takes back: an interrupt between two polls costs little, changed registers or pictures much. */
const PENALTY = { GAP: 5, CHANGE: 100 } as const;
const HASH_PRIME = 0x01000193;

/** Offsets in the idle area; hash and gap stand there twice, for even and odd polls. */
const AREA = { COUNT: 0, PARITY: 2, HALTED: 3, INSTRUCTIONS: 4, GENERATION: 8, HASH: 12, GAP: 16 } as const;
const SLOT_BYTES = 8;

function registerHash(call: Call): number {
  const { cpu, memory } = call.context;
  let hash = memory.read32(call.address("ss", cpu.esp));
  const mix = (value: number): void => {
    hash = Math.imul(hash ^ value, HASH_PRIME);
  };
  mix(cpu.eax);
  mix(cpu.ebx);
  mix(cpu.ecx);
  mix(cpu.edx);
  mix(cpu.esi);
  mix(cpu.edi);
  mix(cpu.ebp);
  mix(cpu.esp);
  mix(cpu.selector("ss"));
  mix(cpu.selector("ds"));
  mix(cpu.selector("es"));
  return hash >>> 0;
}

/** Something happened that an idle guest does not do. */
export function notIdle(call: Call): void {
  call.context.memory.write16(call.ebda + EBDA.IDLE + AREA.COUNT, 0);
}

/** A poll found nothing new. True when the guest should halt until the next interrupt; never without `activity`. */
export function idlePoll(call: Call, activity: Activity | undefined): boolean {
  if (activity === undefined) return false;
  const { memory } = call.context;
  const area = call.ebda + EBDA.IDLE;
  const parity = memory.read8(area + AREA.PARITY) & 1;
  const slot = area + parity * SLOT_BYTES;
  const instructions = activity.instructions() >>> 0;
  const generation = activity.displayGeneration() >>> 0;
  const hash = registerHash(call);
  // A halt ends with an interrupt, whose instructions do not count, and sees the cursor blink.
  const halted = memory.read8(area + AREA.HALTED) === 1;
  const lastGap = memory.read32(slot + AREA.GAP);
  const gap = halted ? lastGap : (instructions - memory.read32(area + AREA.INSTRUCTIONS)) >>> 0;
  const drawn = !halted && generation !== memory.read32(area + AREA.GENERATION);
  const changed = drawn || hash !== memory.read32(slot + AREA.HASH);
  const steady = gap === lastGap && gap <= MAX_GAP;
  const step = changed ? -PENALTY.CHANGE : steady ? 1 : -PENALTY.GAP;
  const count = Math.min(MOST, Math.max(0, memory.read16(area + AREA.COUNT) + step));
  const halt = step > 0 && count >= ENOUGH;
  memory.write16(area + AREA.COUNT, count);
  memory.write8(area + AREA.PARITY, parity ^ 1);
  memory.write8(area + AREA.HALTED, halt ? 1 : 0);
  memory.write32(area + AREA.INSTRUCTIONS, instructions);
  memory.write32(area + AREA.GENERATION, generation);
  memory.write32(slot + AREA.HASH, hash);
  memory.write32(slot + AREA.GAP, gap);
  return halt;
}
