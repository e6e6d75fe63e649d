/** A test machine with descriptor tables, task state segments and handlers, for tests of system behaviour. */
import { assemble } from "../../src/firmware/assembler.ts";
import { SEG } from "../../src/isa/state.ts";
import type { Cpu } from "../../src/processor/cpu.ts";
import { CR0 } from "../../src/processor/registers.ts";
import { createMachine, type RunResult, type TestMachine } from "../support/machine.ts";

/** Where things stand in guest memory. */
export const AT = {
  gdt: 0x1000,
  idt: 0x2000,
  tss: 0x3000,
  tss2: 0x3200,
  tss16: 0x3400,
  handlers: 0x4000,
  stack0: 0x9000,
  stack3: 0xa000,
  code: 0x20000,
  user: 0x28000,
  data: 0x30000,
} as const;

/** Selectors of the segments that every guest has. */
export const SELECTOR = {
  code0: 0x08,
  data0: 0x10,
  code3: 0x1b,
  data3: 0x23,
  tss: 0x28,
  tss2: 0x30,
  tss16: 0x38,
  code16: 0x40,
  data16: 0x48,
  /** First free entry. */
  free: 0x50,
} as const;

/** Access bytes with the granularity nibble: what {@link Guest.descriptor} takes. */
export const RIGHTS = {
  code0: 0xc09a,
  data0: 0xc092,
  code3: 0xc0fa,
  data3: 0xc0f2,
  code16: 0x9a,
  data16: 0x92,
  tss32: 0x89,
  tss16: 0x81,
  ldt: 0x82,
} as const;

/** Gate types with the present bit, DPL 0. */
export const GATE = { task: 0x85, call16: 0x84, call32: 0x8c, interrupt: 0x8e, trap: 0x8f, interrupt16: 0x86 } as const;

const HANDLER_BYTES = 16;
const HLT = 0xf4;
const GDT_LIMIT = 0xff;
let shared: TestMachine | undefined;

export class Guest {
  readonly machine: TestMachine;
  readonly cpu: Cpu;
  readonly view: DataView;

  /** The machine is shared by all guests of a test file: one at a time. */
  constructor(mode: "real" | "protected32" | "user32" = "protected32") {
    shared ??= createMachine();
    this.machine = shared;
    this.cpu = shared.processor.cpu;
    const { memory } = shared;
    memory.fill(0);
    this.view = new DataView(memory.buffer, memory.byteOffset, memory.length);
    shared.invalidate();
    shared.mode(mode);
    this.cpu.set("exceptionBitmap", 0);
    for (const register of ["eax", "ecx", "edx", "ebx", "ebp", "esi", "edi"]) shared.set(register, 0);
    for (let vector = 0; vector < 256; vector++) memory[AT.handlers + vector * HANDLER_BYTES] = HLT;
    if (mode === "real") this.#real();
    else this.#protected(mode === "user32");
    this.cpu.updateMode();
  }

  #real(): void {
    for (let vector = 0; vector < 256; vector++) {
      this.view.setUint16(vector * 4, vector * HANDLER_BYTES, true);
      this.view.setUint16(vector * 4 + 2, AT.handlers >> 4, true);
    }
    this.machine.set("cs", AT.code >> 4);
    this.machine.set("ds", AT.data >> 4);
    this.machine.set("es", AT.data >> 4);
    this.machine.set("ss", 0);
    this.machine.set("esp", AT.stack0);
    this.machine.set("eip", 0);
  }

  #protected(user: boolean): void {
    const { cpu, machine } = this;
    cpu.set("gdtrBase", AT.gdt);
    cpu.set("gdtrLimit", GDT_LIMIT);
    cpu.set("idtrBase", AT.idt);
    cpu.set("idtrLimit", 0x7ff);
    this.descriptor(SELECTOR.code0, 0, 0xfffff, RIGHTS.code0);
    this.descriptor(SELECTOR.data0, 0, 0xfffff, RIGHTS.data0);
    this.descriptor(SELECTOR.code3, 0, 0xfffff, RIGHTS.code3);
    this.descriptor(SELECTOR.data3, 0, 0xfffff, RIGHTS.data3);
    this.descriptor(SELECTOR.code16, 0, 0xffff, RIGHTS.code16);
    this.descriptor(SELECTOR.data16, 0, 0xffff, RIGHTS.data16);
    this.descriptor(SELECTOR.tss, AT.tss, 0x1ff, RIGHTS.tss32 | 2);
    this.descriptor(SELECTOR.tss2, AT.tss2, 0x1ff, RIGHTS.tss32);
    this.descriptor(SELECTOR.tss16, AT.tss16, 0x2b, RIGHTS.tss16);
    for (let vector = 0; vector < 256; vector++) this.gate(vector, GATE.interrupt);
    cpu.setSegment(SEG.TR, SELECTOR.tss, AT.tss, 0x1ff, 0x8b);
    this.view.setUint32(AT.tss + 4, AT.stack0, true);
    this.view.setUint16(AT.tss + 8, SELECTOR.data0, true);
    this.view.setUint16(AT.tss + 0x66, 0x200, true);
    machine.set("esp", user ? AT.stack3 : AT.stack0);
    machine.set("cs", user ? SELECTOR.code3 : SELECTOR.code0);
    for (const segment of ["ss", "ds", "es", "fs", "gs"]) machine.set(segment, user ? SELECTOR.data3 : SELECTOR.data0);
    machine.set("eip", user ? AT.user : AT.code);
  }

  /** Write a descriptor; `rights` as in {@link RIGHTS}, `limit` in the units of its granularity. */
  descriptor(selector: number, base: number, limit: number, rights: number): void {
    const at = AT.gdt + (selector & 0xfff8);
    this.view.setUint32(at, (limit & 0xffff) | (base << 16), true);
    this.view.setUint32(
      at + 4,
      ((base >>> 16) & 0xff) |
        ((rights & 0xff) << 8) |
        (limit & 0xf0000) |
        ((rights & 0xf000) << 8) |
        (base & 0xff000000),
      true,
    );
  }

  #gateAt(at: number, type: number, selector: number, offset: number, count: number): void {
    this.view.setUint32(at, (selector << 16) | (offset & 0xffff), true);
    this.view.setUint32(at + 4, (offset & 0xffff0000) | (type << 8) | count, true);
  }

  /** Gate of `vector` in the IDT: to its own handler unless told. */
  gate(
    vector: number,
    type: number,
    selector: number = SELECTOR.code0,
    offset = AT.handlers + vector * HANDLER_BYTES,
  ): void {
    this.#gateAt(AT.idt + vector * 8, type, selector, offset, 0);
  }

  /** Call or task gate in the GDT. */
  callGate(at: number, type: number, selector: number, offset = 0, count = 0): void {
    this.#gateAt(AT.gdt + (at & 0xfff8), type, selector, offset, count);
  }

  /** Assemble `text` at `address` and forget what was decoded there. */
  load(address: number, text: string, bits: 16 | 32 = 32, origin = address): ReadonlyMap<string, number> {
    const { code, labels } = assemble(text, { origin, bits });
    this.machine.memory.set(code, address);
    this.machine.invalidate();
    return labels;
  }

  /** Raw bytes of code. */
  bytes(address: number, ...code: number[]): void {
    this.machine.memory.set(code, address);
    this.machine.invalidate();
  }

  /** Run until HLT, an exception that is intercepted, another exit, or `most` instructions. */
  run(most = 10_000): RunResult {
    this.cpu.set("preemptionTimer", most);
    return this.machine.run(most);
  }

  /** Run; assert-friendly: the vector whose handler halted, or -1 when something else happened. */
  runToHandler(most = 10_000): number {
    const result = this.run(most);
    if (result.kind !== "halt") return -1;
    const linear = this.cpu.segment(SEG.CS, "base") + this.cpu.get("eip") - AT.handlers;
    return linear >= 0 && linear < 256 * HANDLER_BYTES && linear % HANDLER_BYTES === 0 ? linear / HANDLER_BYTES : -1;
  }

  get(register: string): number {
    return this.machine.get(register);
  }

  set(register: string, value: number): void {
    this.machine.set(register, value);
  }

  word(address: number): number {
    return this.view.getUint16(address, true);
  }

  dword(address: number): number {
    return this.view.getUint32(address, true);
  }

  setDword(address: number, value: number): void {
    this.view.setUint32(address, value, true);
  }

  /** Double words at the stack top, through the base of SS. */
  stack(count: number): number[] {
    const top = (this.cpu.segment(SEG.SS, "base") + this.get("esp")) >>> 0;
    return Array.from({ length: count }, (_, i) => this.dword(top + i * 4));
  }

  /** Turn on 32-bit paging with the first 4 MB mapped one to one, and return how to change an entry. */
  page(flags = 7): (linear: number, entry: number) => void {
    const directory = 0x100000;
    const table = 0x101000;
    this.setDword(directory, table | 7);
    for (let i = 0; i < 1024; i++) this.setDword(table + i * 4, (i << 12) | flags);
    this.cpu.set("cr3", directory);
    this.cpu.set("cr0", this.cpu.get("cr0") | CR0.PG | CR0.WP);
    this.cpu.flushAll();
    return (linear, entry) => {
      this.setDword(table + (linear >>> 12) * 4, entry);
      this.cpu.flushPage(linear);
    };
  }
}
