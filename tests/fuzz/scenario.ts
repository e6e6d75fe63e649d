/**
 * One hostile guest, made from a seed: a whole domain with random code, descriptor tables, page tables and registers,
 * run for a stretch of guest time. Whatever it does must end as a stop of that domain.
 */
import { createPc } from "../../src/devices/pc.ts";
import { Vga } from "../../src/devices/vga/vga.ts";
import { romBios } from "../../src/firmware/rombios/rom.ts";
import { vgaBios } from "../../src/firmware/vgabios/rom.ts";
import { buildMemoryMap, loadFirmware } from "../../src/firmware/vmxloader.ts";
import { HvmDomain } from "../../src/hypervisor/hvm-domain.ts";
import type { StopReason } from "../../src/hypervisor/stop-reason.ts";
import { SEG } from "../../src/isa/state.ts";
import { DEFAULT_COMPILER } from "../../src/processor/compiler/compiler.ts";
import { compareGuestStates, saveGuestState } from "../../src/processor/guest-state.ts";
import { CR0, CR4, EFER } from "../../src/processor/registers.ts";
import { restoreVcpu, vcpuState, vcpuStateProblem } from "../../src/processor/vcpu-state.ts";
import { Random } from "../oracle/random.ts";
import { testBoard } from "../support/board.ts";
import { fakeDisk, fakeFloppy } from "../support/device-fakes.ts";
import { code, number, port } from "./code.ts";

const RAM = 2 << 20;
/** Where the tables of a random machine stand; code is everywhere else. */
const GDT = 0x1000;
const IDT = 0x2000;
const TSS = 0x3000;
const TABLES = 0x10000;
const PAGE_TABLES = 16;
const GDT_ENTRIES = 64;
const NS_PER_INSTRUCTION = 10;
const MEGABYTE = 1 << 20;
const CHUNK = 0x4000;
/** More than the BIOS needs to reach INT 19h. */
const POST_INSTRUCTIONS = 10_000_000;

export interface ScenarioResult {
  readonly reason: StopReason;
  readonly instructions: number;
  /** What must not happen, if it did: a defect of ours. */
  readonly defect: string | undefined;
}

const defectOf = (message: string): string | undefined =>
  /internal error|lockstep|VM entry failed|nothing handles|firmware service failed/.test(message) ? message : undefined;

/** Access rights of a random descriptor: bits 15–8 and 23–20 of its high word. */
function descriptorHigh(random: Random): number {
  const dpl = random.pick([0, 0, 0, 3, 3, random.below(4)]) << 13;
  const present = random.oneIn(10) ? 0 : 0x8000;
  const type = random.pick([0x1a, 0x1b, 0x12, 0x13, 0x12, 0x16, 0x1e, 0x02, 0x09, 0x01, 0x0c, 0x05, random.below(32)]);
  return dpl | present | (type << 8) | (random.pick([0, 0x4, 0xc, 0xc, 0x8]) << 20);
}

function writeTables(random: Random, domain: HvmDomain): void {
  const { memory } = domain;
  for (let i = 1; i < GDT_ENTRIES; i++) {
    const high = descriptorHigh(random);
    const type = (high >> 8) & 0x1f;
    const at = GDT + i * 8;
    if (type === 0x0c || type === 0x04) {
      memory.write32(at, (random.below(GDT_ENTRIES) << 19) | random.below(0x10000));
      memory.write32(at + 4, (high & 0xff00) | random.below(4) | (random.below(RAM >> 16) << 16));
    } else if (type === 0x05) {
      memory.write32(at, random.below(GDT_ENTRIES) << 19);
      memory.write32(at + 4, high & 0xff00);
    } else {
      const base =
        (type & 0x10) === 0 ? TSS + random.below(4) * 0x100 : random.pick([0, 0, 0, random.below(RAM), random.u32()]);
      const limit = random.pick([0xfffff, 0xffff, random.below(0x100000), 0x67]);
      memory.write32(at, (limit & 0xffff) | (base << 16));
      memory.write32(at + 4, high | (limit & 0xf0000) | ((base >>> 16) & 0xff) | (base & 0xff000000));
    }
  }
  // A few that work, so that guests get somewhere: flat code and data at both privileges, a TSS.
  for (const [index, high] of [
    [1, 0x00cf9a00],
    [2, 0x00cf9200],
    [3, 0x00cffa00],
    [4, 0x00cff200],
    [5, 0x008f9a00],
    [6, 0x008f9200],
  ] as const) {
    memory.write32(GDT + index * 8, 0x0000ffff);
    memory.write32(GDT + index * 8 + 4, high);
  }
  memory.write32(GDT + 7 * 8, (TSS << 16) | 0x2067);
  memory.write32(GDT + 7 * 8 + 4, 0x00008900);
  for (let vector = 0; vector < 256; vector++) {
    const target = number(random) % RAM;
    const type = random.pick([0x8e, 0x8e, 0x8f, 0xee, 0xee, 0x86, 0xe7, 0x85, random.below(256)]);
    const selector = random.oneIn(8) ? random.below(GDT_ENTRIES) * 8 : random.pick([8, 8, 8, 0x28]);
    memory.write32(IDT + vector * 8, (selector << 16) | (target & 0xffff));
    memory.write32(IDT + vector * 8 + 4, (target & 0xffff0000) | (type << 8));
  }
  for (let at = TSS; at < TSS + 0x400; at += 4)
    memory.write32(at, random.oneIn(3) ? random.u32() : number(random) % RAM);
  for (let tss = TSS; tss < TSS + 0x400; tss += 0x100) {
    memory.write32(tss + 4, 0x8000 + random.below(0x1000));
    memory.write32(tss + 8, random.oneIn(5) ? random.u32() : 0x10);
    memory.write32(tss + 0x1c, TABLES);
    for (const segment of [0x48, 0x50, 0x54, 0x58, 0x5c])
      memory.write32(tss + segment, random.oneIn(4) ? random.u32() : 0x10);
    memory.write32(tss + 0x4c, random.oneIn(4) ? random.u32() : 8);
    memory.write32(tss + 0x60, 0);
    memory.write32(tss + 0x64, random.oneIn(4) ? random.u32() : 0x680000);
  }
}

/** Page tables that mostly map the first megabytes to themselves, with random rights. */
function writePaging(random: Random, domain: HvmDomain, pae: boolean): void {
  const { memory } = domain;
  const low = (): number => (random.oneIn(3) ? random.below(0x1000) : 0x67 | (random.oneIn(8) ? 0x80 : 0));
  const entry = (frame: number): number => {
    const target = random.oneIn(12) ? random.u32() & -4096 : frame << 12;
    return (target | (random.oneIn(10) ? low() : 0x67)) >>> 0;
  };
  if (pae) {
    for (let i = 0; i < 4; i++) {
      memory.write32(TABLES + i * 8, (TABLES + 0x1000 * (1 + (i & 1))) | (random.oneIn(6) ? random.below(0x1000) : 1));
      memory.write32(TABLES + i * 8 + 4, 0);
    }
    for (let i = 0; i < 1024; i++) {
      const at = TABLES + 0x1000 + i * 8;
      memory.write32(at, (TABLES + 0x1000 * (3 + (i % (PAGE_TABLES - 3)))) | (random.oneIn(6) ? low() : 0x67));
      memory.write32(at + 4, random.oneIn(20) ? random.u32() : 0);
    }
    for (let i = 0; i < 512 * (PAGE_TABLES - 3); i++) {
      memory.write32(TABLES + 0x3000 + i * 8, entry(i % 512));
      memory.write32(TABLES + 0x3000 + i * 8 + 4, random.oneIn(30) ? random.u32() : 0);
    }
    return;
  }
  for (let i = 0; i < 1024; i++) {
    memory.write32(
      TABLES + i * 4,
      (TABLES + 0x1000 * (1 + (i % (PAGE_TABLES - 1)))) | (random.oneIn(6) ? low() : 0x67),
    );
  }
  for (let i = 0; i < 1024 * (PAGE_TABLES - 1); i++) memory.write32(TABLES + 0x1000 + i * 4, entry(i % 1024));
}

/** Code everywhere, 16-bit in the first megabyte and 32-bit behind it, and tables. */
function hostileMemory(random: Random, domain: HvmDomain): void {
  const { memory } = domain;
  for (const [start, end, bits] of [
    [0, MEGABYTE, 16],
    [MEGABYTE, RAM, 32],
  ] as const) {
    const chunk = code(random, bits, CHUNK);
    for (let at = start; at < end; at += CHUNK) memory.write(at, chunk);
  }
  for (let at = 0; at < 0x400; at += 4) memory.write32(at, (random.below(0x8000) << 16) | random.below(0x1000));
  writeTables(random, domain);
}

/** Random registers and mode. */
function hostileState(random: Random, domain: HvmDomain): void {
  const { cpu } = domain;
  domain.enter({ mode: "real" });
  const mode = random.pick(["real", "protected16", "protected32", "user32", "v86", "unreal"] as const);
  const bits = mode === "protected32" || mode === "user32" ? 32 : 16;
  domain.setA20(!random.oneIn(8));
  for (let i = 0; i < 8; i++) cpu.setGpr(i, number(random));
  cpu.setEflags(random.below(0x400000) & (random.oneIn(4) ? 0x3f7fd5 : 0x200ed5));
  cpu.set("eflags", cpu.get("eflags") & ~0x20000);
  cpu.set("eip", bits === 32 ? MEGABYTE + random.below(MEGABYTE) : random.below(0x8000));
  cpu.setGpr(4, 0x8000 + random.below(0x4000));
  cpu.set("sysenterCs", random.pick([0, 8, 0x1b]));
  cpu.set("sysenterEip", random.below(RAM));
  cpu.set("sysenterEsp", random.below(RAM));
  if (random.oneIn(6)) {
    for (const register of ["dr0", "dr1", "dr2", "dr3"] as const) cpu.set(register, number(random));
    cpu.set("dr7", (random.u32() & 0xffff00ff) | 0x400);
  }
  if (mode === "real" || mode === "unreal") {
    for (const segment of [SEG.ES, SEG.SS, SEG.DS, SEG.FS, SEG.GS]) {
      const selector = random.below(0x1000);
      const wide = mode === "unreal" && random.oneIn(2);
      cpu.setSegment(segment, selector, selector << 4, wide ? 0xffffffff : 0xffff, wide ? 0x8093 : 0x93);
    }
    const selector = random.below(0x9000);
    cpu.setSegment(SEG.CS, selector, selector << 4, 0xffff, 0x9b);
    cpu.updateMode();
    return;
  }
  cpu.set("gdtrBase", GDT);
  cpu.set("gdtrLimit", GDT_ENTRIES * 8 - 1);
  cpu.set("idtrBase", IDT);
  cpu.set("idtrLimit", random.oneIn(8) ? random.below(0x800) : 0x7ff);
  cpu.setSegment(SEG.TR, 0x38, TSS, 0x2067, 0x8b);
  let cr0 = CR0.PE | CR0.ET;
  let cr4 = random.below(0x200);
  if (random.oneIn(2)) {
    cr0 |= CR0.PG | (random.oneIn(2) ? CR0.WP : 0);
    writePaging(random, domain, (cr4 & CR4.PAE) !== 0);
    cpu.set("cr3", TABLES);
    cpu.set("efer", random.oneIn(2) ? EFER.NXE : 0);
  } else cr4 &= ~CR4.PAE;
  if (random.oneIn(4)) cr0 |= CR0.TS;
  cpu.set("cr0", cr0);
  cpu.set("cr4", cr4);
  if (mode === "v86") {
    cpu.set("eflags", cpu.get("eflags") | 0x20000);
    for (const segment of [SEG.ES, SEG.CS, SEG.SS, SEG.DS, SEG.FS, SEG.GS]) {
      const selector = random.below(0x9000);
      cpu.setSegment(segment, selector, selector << 4, 0xffff, 0xf3);
    }
    cpu.set("cpl", 3);
  } else {
    const user = mode === "user32";
    const dpl = user ? 0x60 : 0;
    const [codeSelector, dataSelector] = user ? [0x1b, 0x23] : bits === 32 ? [8, 0x10] : [0x28, 0x30];
    const big = bits === 32 ? 0x4000 : 0;
    cpu.setSegment(SEG.CS, codeSelector, 0, 0xffffffff, 0x809b | big | dpl);
    for (const segment of [SEG.ES, SEG.SS, SEG.DS, SEG.FS, SEG.GS])
      cpu.setSegment(segment, dataSelector, 0, 0xffffffff, 0x8093 | big | dpl);
    cpu.set("cpl", user ? 3 : 0);
  }
  cpu.updateMode();
}

/** A program that calls the BIOS: random code in low memory behind the BIOS's own data, real mode. */
function programState(random: Random, domain: HvmDomain): void {
  const { cpu, memory } = domain;
  domain.enter({ mode: "real" });
  if (random.oneIn(4)) {
    const chunk = code(random, 16, CHUNK);
    for (let at = 0x1000; at < 0x90000; at += CHUNK) memory.write(at, chunk);
  }
  for (let i = 0; i < 8; i++) cpu.setGpr(i, number(random));
  cpu.setGpr(4, 0x1000 + random.below(0xe000));
  cpu.setEflags(0x202);
  for (const segment of [SEG.ES, SEG.CS, SEG.SS, SEG.DS]) {
    const selector = 0x100 + random.below(0x8000);
    cpu.setSegment(segment, selector, selector << 4, 0xffff, segment === SEG.CS ? 0x9b : 0x93);
  }
  cpu.set("eip", random.below(0x8000));
  cpu.updateMode();
}

/** What of a vCPU's state does not come back from a saved domain, if anything. */
function lostState({ cpu, processor }: HvmDomain): string | undefined {
  const before = saveGuestState(cpu);
  const state = vcpuState(processor);
  const problem = vcpuStateProblem(state);
  if (problem !== undefined) return `a vCPU cannot be saved: ${problem}`;
  restoreVcpu(processor, state);
  const kept = new Set<string>([...Object.keys(state.general), ...Object.keys(state.registers)]);
  const lost = compareGuestStates(before, saveGuestState(cpu)).find(
    // Segments with their bounds (nothing is accessed by those of system segments), x87 and XMM registers, and whatever has a name in the state.
    ({ name }) =>
      /^[ECSDFG]S\.|^(?:LDTR|TR)\.(?:selector|base|limit|ar)|^R\d|^XMM|^eflags \(all\)/.test(name) ||
      kept.has(name.replace(/\+\d+$/, "")),
  );
  return lost && `${lost.name} of a saved vCPU was ${lost.a}, and comes back as ${lost.b}`;
}

/** How guests run: as users' do, with all code compiled at once, or so with the interpreter beside it. */
const ENGINES = {
  usual: {},
  compiled: { compiler: { ...DEFAULT_COMPILER, threshold: 2, immediate: true } },
  lockstep: { compiler: { ...DEFAULT_COMPILER, threshold: 2, immediate: true }, lockstep: true },
} as const;
export type FuzzEngine = keyof typeof ENGINES;

/** Run the guest of `seed` for about `instructions` guest instructions. Rejects only when a defect escapes the domain. */
export async function runScenario(
  seed: number,
  instructions: number,
  engine: FuzzEngine = "usual",
): Promise<ScenarioResult> {
  const random = new Random(seed);
  const domain = new HvmDomain({ memory: RAM, clock: "instructions", ...ENGINES[engine] });
  const disk = fakeDisk(2);
  const floppy = fakeFloppy(1440);
  const vga = new Vga({ clock: domain.clock });
  const pc = createPc({
    bus: domain.bus,
    memory: domain.memory,
    clock: domain.clock,
    intr: domain.intr,
    a20: { set: (level) => domain.setA20(level) },
    shadow: domain.physical,
    reset: () => domain.reset(),
    power: { sleep: () => domain.suspend(), wake: () => domain.wakeUp() },
    floppies: [floppy],
    units: [disk],
    serial: [{ write() {} }],
    vga,
  });
  domain.setInterruptController(pc.pic);
  const firmware = random.oneIn(3);
  if (firmware) {
    loadFirmware(domain, [
      vgaBios(),
      romBios({
        floppies: [floppy],
        units: [disk],
        memoryMap: buildMemoryMap(RAM),
        board: testBoard(RAM),
        powerOff: () => domain.powerOff(),
        directBoot: () => shake(),
      }),
    ]);
  }
  domain.onReset = () => {
    shakes.cancel();
    pc.reset();
    if (firmware) return;
    hostileMemory(random, domain);
    for (let n = random.below(200); n > 0; n--)
      domain.bus.out(port(random), random.pick([1, 1, 1, 2, 4]), random.below(256));
    shake();
  };
  /** Put the guest elsewhere: most get stuck before long. */
  const shake = (): void => {
    if (firmware) {
      if (stop.deadline > domain.clock.now() + budget) stop.arm(domain.clock.now() + budget);
      programState(random, domain);
    } else hostileState(random, domain);
    shakes.arm(domain.clock.now() + (50 + random.below(3000)) * NS_PER_INSTRUCTION);
  };
  const shakes = domain.clock.timer(shake);
  const stop = domain.clock.timer(() => domain.destroy());
  const budget = instructions * NS_PER_INSTRUCTION;
  // A BIOS gets its time to boot.
  stop.arm(firmware ? POST_INSTRUCTIONS * NS_PER_INSTRUCTION : budget);
  const keys = domain.clock.timer((deadline) => {
    pc.keyboard.key(random.pick(["KeyA", "Enter", "ControlLeft", "Delete", "Escape"]), random.oneIn(2));
    pc.uarts[0]?.receive(Uint8Array.of(random.below(256)));
    pc.mouse.move(random.below(64) - 32, random.below(64) - 32, random.below(8) - 4, random.below(8));
    vga.text();
    vga.frame();
    keys.arm(deadline + random.below(2_000_000));
  });
  keys.arm(1_000_000);
  const reason = await domain.run();
  for (const [, device] of pc.devices) device.restore(device.state());
  return { reason, instructions: domain.instructions(), defect: defectOf(reason.message) ?? lostState(domain) };
}
