/** A PC with the system BIOS for tests: real devices, plain memory, a processor that is only registers. */
import assert from "node:assert/strict";
import { createPc, type Pc, type PcOptions } from "../../src/devices/pc.ts";
import type { FirmwareCpu, SegmentName } from "../../src/firmware/cpu.ts";
import { FONT_8X8 } from "../../src/firmware/font/font.ts";
import { buildImage } from "../../src/firmware/rombios/image.ts";
import { type RomBiosDeps, romBios } from "../../src/firmware/rombios/rom.ts";
import type { Rom, ServiceContext } from "../../src/firmware/service.ts";
import { buildMemoryMap } from "../../src/firmware/vmxloader.ts";
import { testBoard } from "../support/board.ts";
import { FakeBus, FakeLine, FakeMemory, NO_SHADOW, NO_VIDEO } from "../support/device-fakes.ts";
import { FakeClock } from "../support/fake-clock.ts";

export const CF = 1;
export const ZF = 0x40;
const MB = 1024 * 1024;
/** Where the interrupt frame stands while a service runs: SS:SP. */
const STACK = { SEGMENT: 0x1000, POINTER: 0x0ff0 } as const;

export class FakeCpu implements FirmwareCpu {
  eax = 0;
  ecx = 0;
  edx = 0;
  ebx = 0;
  esp: number = STACK.POINTER;
  ebp = 0;
  esi = 0;
  edi = 0;
  eip = 0;
  eflags = 0x202;
  a20 = true;
  readonly selectors: Record<SegmentName, number> = { es: 0, cs: 0xf000, ss: STACK.SEGMENT, ds: 0, fs: 0, gs: 0 };

  selector(segment: SegmentName): number {
    return this.selectors[segment];
  }
  loadSelector(segment: SegmentName, selector: number): void {
    this.selectors[segment] = selector;
  }
  base(segment: SegmentName): number {
    return this.selectors[segment] * 16;
  }
}

/** Registers of a call, by their 16-bit names though values may have 32 bits; what is left out is zero. */
export interface Registers {
  ax?: number;
  bx?: number;
  cx?: number;
  dx?: number;
  si?: number;
  di?: number;
  ds?: number;
  es?: number;
}

/** What a call gave back. `to` is the label at which the stub goes on, if the service chose one. */
export interface Result {
  readonly ax: number;
  readonly bx: number;
  readonly cx: number;
  readonly dx: number;
  readonly di: number;
  readonly es: number;
  readonly ah: number;
  readonly al: number;
  readonly carry: boolean;
  readonly zero: boolean;
  readonly to: string | undefined;
}

const GOES_TO = [
  ...["wait", "idle", "leds", "talk"].map((name) => `int16_${name}`),
  ...["end", "post", "talk", "print", "break", "sysreq_down", "sysreq_up", "pause", "beep", "reset"].map(
    (n) => `int9_${n}`,
  ),
  ...["idle", "mouse", "delay"].map((name) => `int15_${name}`),
  "int14_wait",
  "int1a_idle",
  "int70_alarm",
  "no_boot",
  "boot_enter",
];

export class Machine {
  readonly cpu = new FakeCpu();
  readonly clock = new FakeClock();
  readonly bus = new FakeBus();
  readonly memory: FakeMemory;
  readonly pc: Pc;
  readonly rom: Rom;
  readonly context: ServiceContext;
  readonly sent: number[] = [];
  poweredOff = 0;
  private readonly traps: ReadonlyMap<string, number>;
  private readonly places: ReadonlyMap<number, string>;

  constructor(
    { bootOrder, ...deps }: Partial<RomBiosDeps> & Pick<Partial<PcOptions>, "bootOrder"> = {},
    memoryBytes = 4 * MB,
  ) {
    this.memory = new FakeMemory(memoryBytes);
    const floppies = (deps.floppies ?? []).filter((drive) => drive !== undefined);
    this.pc = createPc({
      bus: this.bus,
      memory: this.memory,
      clock: this.clock,
      intr: new FakeLine(),
      a20: { set: (level) => this.setA20(level) },
      shadow: NO_SHADOW,
      reset: () => {},
      power: { sleep() {}, wake() {} },
      floppies,
      units: deps.units ?? [],
      serial: [{ write: (byte) => this.sent.push(byte) }],
      vga: NO_VIDEO,
      ...(bootOrder && { bootOrder }),
    });
    this.rom = romBios({
      floppies,
      units: [],
      memoryMap: buildMemoryMap(memoryBytes),
      board: testBoard(memoryBytes),
      powerOff: () => {
        this.poweredOff++;
      },
      ...deps,
    });
    this.memory.write(this.rom.base, this.rom.image);
    this.context = {
      cpu: this.cpu,
      memory: this.memory,
      io: this.bus,
      clock: this.clock,
    };
    const { traps, label } = buildImage(FONT_8X8.subarray(0, 1024));
    this.traps = traps;
    this.places = new Map(GOES_TO.map((name) => [label(name), name]));
  }

  private setA20(level: boolean): void {
    this.cpu.a20 = level;
  }

  /** Run one service by its trap's name. */
  async trap(name: string): Promise<void> {
    const offset = this.traps.get(name);
    assert.ok(offset !== undefined, `no trap ${name}`);
    this.cpu.eip = offset;
    await this.rom.services.get(offset)!(this.context);
  }

  /** Call an interrupt service with a fresh interrupt frame. Flags of the caller are clear before. */
  async call(name: string, registers: Registers = {}): Promise<Result> {
    const { cpu, memory } = this;
    cpu.eax = registers.ax ?? 0;
    cpu.ebx = registers.bx ?? 0;
    cpu.ecx = registers.cx ?? 0;
    cpu.edx = registers.dx ?? 0;
    cpu.esi = registers.si ?? 0;
    cpu.edi = registers.di ?? 0;
    cpu.selectors.ds = registers.ds ?? 0;
    cpu.selectors.es = registers.es ?? 0;
    cpu.esp = STACK.POINTER;
    const frame = STACK.SEGMENT * 16 + STACK.POINTER;
    memory.write16(frame, 0x1234);
    memory.write16(frame + 2, 0x0800);
    memory.write16(frame + 4, 0x0202);
    await this.trap(name);
    return this.result();
  }

  /** Registers and the caller's flags as they are now. */
  result(): Result {
    const { cpu, memory } = this;
    const flags = memory.read16(STACK.SEGMENT * 16 + STACK.POINTER + 4);
    const offset = cpu.eip;
    return {
      ax: cpu.eax & 0xffff,
      bx: cpu.ebx & 0xffff,
      cx: cpu.ecx & 0xffff,
      dx: cpu.edx & 0xffff,
      di: cpu.edi & 0xffff,
      es: cpu.selectors.es,
      ah: (cpu.eax >> 8) & 0xff,
      al: cpu.eax & 0xff,
      carry: (flags & CF) !== 0,
      zero: (flags & ZF) !== 0,
      to: this.places.get(offset),
    };
  }

  /** What the stub's `talk` loop does: carry an exchange with the keyboard controller through. */
  async talk(): Promise<void> {
    for (let i = 0; i < 100_000; i++) {
      await this.trap("talk");
      if ((this.cpu.eflags & ZF) === 0) return;
      this.clock.advance(20_000);
    }
    assert.fail("the exchange does not end");
  }

  /** POST as the ROM runs it, without option ROMs. */
  async post(): Promise<this> {
    await this.trap("reset");
    await this.trap("post_setup");
    await this.talk();
    await this.trap("post_disks");
    await this.trap("post_finish");
    return this;
  }

  /** Scan codes through INT 9; gives the label that each led to. */
  async keys(...codes: number[]): Promise<(string | undefined)[]> {
    const labels: (string | undefined)[] = [];
    for (const code of codes) {
      labels.push((await this.call("int9", { ax: code })).to);
      if (labels.at(-1) === "int9_talk") await this.talk();
    }
    return labels;
  }

  /** Zero-terminated text at DS:SI. */
  text(): string {
    let at = this.cpu.base("ds") + (this.cpu.esi & 0xffff);
    let out = "";
    for (let c = this.memory.read8(at); c !== 0; c = this.memory.read8(++at)) out += String.fromCharCode(c);
    return out;
  }
}
