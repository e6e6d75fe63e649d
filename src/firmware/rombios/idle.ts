/**
 * Notices a guest that does nothing but ask for a key or for the time, so that its processor can halt until the next
 * interrupt. A poll counts as idle when it follows the one before at once and finds every register as that one did: a
 * program that does something between two polls, or animates, does not look like that.
 */
import type { Call } from "./call.ts";
import { EBDA } from "./layout.ts";

/** Polls in a row before the guest is taken to be idle. */
const IDLE_POLLS = 500;
/** Longest guest time between two polls of an idle loop, in µs. */
const IDLE_GAP_US = 100;
const HALTED = 0xffff_ffff;
const HASH_PRIME = 0x01000193;

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
  call.context.memory.write32(call.ebda + EBDA.IDLE_COUNT, 0);
}

/** A poll found nothing new. True when the guest should halt until the next interrupt. */
export function idlePoll(call: Call): boolean {
  const { memory, clock } = call.context;
  const { ebda } = call;
  const now = Math.floor(clock.now() / 1000) % HALTED;
  const last = memory.read32(ebda + EBDA.IDLE_TIME);
  const hash = registerHash(call);
  const same = memory.read32(ebda + EBDA.IDLE_HASH) === hash;
  const soon = last === HALTED || (now >= last && now - last <= IDLE_GAP_US);
  const count = same && soon ? memory.read32(ebda + EBDA.IDLE_COUNT) + 1 : 0;
  const halt = count >= IDLE_POLLS;
  memory.write32(ebda + EBDA.IDLE_HASH, hash);
  memory.write32(ebda + EBDA.IDLE_COUNT, Math.min(count, IDLE_POLLS));
  memory.write32(ebda + EBDA.IDLE_TIME, halt ? HALTED : now);
  return halt;
}
