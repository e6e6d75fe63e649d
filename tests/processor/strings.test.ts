/** Repeated string instructions: where they stop depends on architectural state, not on what the tables hold. */
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { GuestFault } from "../../src/processor/cpu.ts";
import { EXIT } from "../../src/processor/exits.ts";
import { CODE_BITS, MACHINE } from "../../src/processor/memory-map.ts";
import { Random } from "../oracle/random.ts";
import { AT, Guest } from "./guest.ts";
import { fingerprint } from "./random-guest.ts";

const PAGE = 4096;
const FIRST = 0x40000;
const PAGES = 48;
/** A page frame behind RAM: the bus answers. */
const DEVICE = 0x0500_0000;
/** Present, writable, user; accessed and dirty already, so that looking at a page leaves no trace. */
const MAPPED = 0x67;
const DF = 0x400;
const BUDGET = 5000;
const MOST_EXITS = 200;

const PREFIXES = { movs: ["rep"], stos: ["rep"], lods: ["rep"], scas: ["repe", "repne"], cmps: ["repe", "repne"] };

/** How a guest is made ready: the same for the guest, but not for the engine. */
type Preparation = "cold" | "warm" | "code" | "helper";

interface Setup {
  readonly guest: Guest;
  readonly random: Random;
}

/** A guest with one repeated instruction, over pages of which some are absent, read-only or a device's. */
function stringGuest(seed: number): Setup {
  const random = new Random(seed);
  const guest = new Guest(random.oneIn(2) ? "user32" : "protected32");
  const entry = guest.page(MAPPED);
  for (let page = 0; page < PAGES; page++) {
    const linear = FIRST + page * PAGE;
    const kind = random.below(30);
    if (kind < 2) entry(linear, linear | (MAPPED & ~1));
    else if (kind < 4) entry(linear, linear | (MAPPED & ~2));
    else if (kind === 4) entry(linear, DEVICE | MAPPED);
    else if (kind < 15) guest.machine.memory.fill(random.below(3), linear, linear + PAGE);
  }
  const name = random.pick(Object.keys(PREFIXES) as (keyof typeof PREFIXES)[]);
  guest.load(AT.code, `${random.pick(PREFIXES[name])} ${name}${random.pick(["b", "w", "d"])}\nhlt`);
  guest.set("eip", AT.code);
  guest.set("eax", random.below(3) * 0x0101_0101);
  guest.set("ecx", random.below(random.oneIn(2) ? 40_000 : 3000));
  guest.set("esi", FIRST + random.below(PAGES * PAGE));
  guest.set("edi", random.oneIn(2) ? guest.get("esi") + random.below(9) - 4 : FIRST + random.below(PAGES * PAGE));
  guest.cpu.setEflags(2 | (random.oneIn(2) ? DF : 0));
  return { guest, random };
}

/** Fill some table entries by reading and, where that changes nothing, writing. */
function touch({ guest: { cpu }, random }: Setup): void {
  for (let i = 0; i < PAGES; i++) {
    const linear = FIRST + random.below(PAGES) * PAGE;
    try {
      const value = cpu.read(linear, 1);
      if (random.oneIn(2)) cpu.write(linear, 1, value);
    } catch (fault) {
      assert.ok(fault instanceof GuestFault);
    }
  }
  cpu.set("cr2", 0);
}

/** Say that some pages hold code. */
function markCode({ guest: { cpu }, random }: Setup): void {
  for (let i = 0; i < PAGES / 2; i++) {
    const machine = MACHINE + FIRST + random.below(PAGES) * PAGE;
    if (cpu.i32[(CODE_BITS >> 2) + (machine >>> 12)] === 0) cpu.protectCode(machine);
    cpu.i32[(CODE_BITS >> 2) + (machine >>> 12)]! |= 1 << random.below(32);
  }
}

/** Every exit of a run, with all that the guest, the timer and the instruction count show. */
function exits(seed: number, preparation: Preparation): unknown[] {
  const setup = stringGuest(seed);
  const { guest } = setup;
  const { processor } = guest.machine;
  if (preparation === "warm") touch(setup);
  if (preparation === "code") markCode(setup);
  processor.translator.natives = preparation !== "helper";
  const start = processor.instructions;
  const found: unknown[] = [];
  let reason: number = EXIT.preemptionTimer;
  while (reason === EXIT.preemptionTimer && found.length < MOST_EXITS) {
    guest.cpu.set("preemptionTimer", BUDGET);
    reason = processor.run();
    const registers = ["eax", "ecx", "esi", "edi", "eip", "eflags"].map((register) => guest.get(register));
    found.push([reason, processor.instructions - start, guest.cpu.get("preemptionTimer"), registers]);
  }
  found.push(fingerprint(guest));
  processor.translator.natives = true;
  guest.cpu.i32.fill(0, CODE_BITS >> 2, (CODE_BITS >> 2) + (MACHINE >>> 12) + PAGE);
  return found;
}

test("goes and ticks of repeated strings do not depend on tables, decoded code or who carries them out", () => {
  const property = (seed: number): void => {
    const expected = exits(seed, "cold");
    for (const preparation of ["warm", "code", "helper"] as const)
      assert.deepEqual(exits(seed, preparation), expected, preparation);
  };
  fc.assert(fc.property(fc.nat(), property), { numRuns: 120 });
});

test("a search that ends soon stays in the engine, however large its count is", () => {
  const guest = new Guest();
  guest.load(AT.code, "mov edi, 0x30000\nmov ecx, -1\nmov al, 0\nrepne scasb\nhlt");
  guest.cpu.set("preemptionTimer", BUDGET);
  assert.equal(guest.machine.processor.run(), EXIT.hlt);
  assert.equal(guest.cpu.get("preemptionTimer"), BUDGET - 5);
});
