/**
 * Runs cases on our processor in the world of layout.ts: a little kernel of tables only, whose exception handlers are
 * HLT instructions. What the processor pushed for the handler is the result, as a signal frame is natively.
 */
import { FPU_REGS, SEG } from "../../src/isa/state.ts";
import { EXIT } from "../../src/processor/exits.ts";
import { MACHINE, STATE } from "../../src/processor/memory-map.ts";
import { AR, CR0, SYSTEM_TYPE } from "../../src/processor/registers.ts";
import { createMachine, type TestMachine, type Tier } from "../support/machine.ts";
import { codeBlock, hasErrorCode, initialByte, SEGMENTS, type TestCase, type TestResult, VECTOR } from "./case.ts";
import { CODE, descriptorBytes, FPU_IMAGE, LOCAL_DESCRIPTORS, SCRATCH, scratchPattern, WINDOW } from "./layout.ts";

/** The kernel's memory: physical and linear addresses are the same. */
const KERNEL = {
  gdt: 0x10_0000,
  ldt: 0x10_1000,
  idt: 0x10_2000,
  tss: 0x10_3000,
  directory: 0x10_4000,
  pages: 0x10_5000,
  handlers: 0x10_6000,
  stackTop: 0x10_8000,
  end: 0x10_8000,
} as const;
/** Selectors in the GDT; user code and data stand where Linux has them. */
const GDT = {
  kernelCode: 0x10,
  kernelData: 0x18,
  userCode: 0x20,
  userData: 0x28,
  tss: 0x40,
  ldt: 0x50,
  bytes: 0x58,
} as const;
const VECTORS = 32;
/** Bytes from one exception handler to the next. */
const HANDLER_STRIDE = 4;
const HLT = 0xf4;
const INT3 = 0xcc;
const INT3_WORD = 0xcccccccc;
const PAGE = { present: 1, write: 2, user: 4, size: 0x1000 } as const;
/** Offsets in a 32-bit TSS, and its size without an I/O map. SDM 3A 8.2.1. */
const TSS = { esp0: 4, ss0: 8, ioMap: 0x66, size: 0x68 } as const;
/** INT3 and INTO may be executed by users. */
const USER_GATES: ReadonlySet<number> = new Set([VECTOR.BP, VECTOR.OF]);
const CODE32 = 0xc09b;
const DATA32 = 0xc093;
/** More instructions than any case executes. */
const BUDGET = 400;
const TAG_EMPTY = 3;
const NO_CODE = new Uint8Array(CODE.bytes).fill(INT3);

/** Our processor, ready to run cases. */
export class OracleEngine {
  readonly machine: TestMachine;
  readonly #view: DataView;
  /** Scratch pages as the next case expects them outside its window. */
  readonly #pattern = scratchPattern();

  /** On the engine that tests run on by default, or on `tier`. */
  constructor(tier?: Tier) {
    this.machine = createMachine(tier);
    const { memory } = this.machine;
    this.#view = new DataView(memory.buffer, memory.byteOffset, memory.byteLength);
    this.#writeTables();
    memory.fill(INT3, CODE.base, CODE.base + CODE.size);
    memory.set(this.#pattern, SCRATCH.base);
    this.machine.mode("protected32");
    const { cpu } = this.machine.processor;
    cpu.set("exceptionBitmap", 0);
    cpu.set("gdtrBase", KERNEL.gdt);
    cpu.set("gdtrLimit", GDT.bytes - 1);
    cpu.set("idtrBase", KERNEL.idt);
    cpu.set("idtrLimit", VECTORS * 8 - 1);
    cpu.setSegment(SEG.LDTR, GDT.ldt, KERNEL.ldt, LOCAL_DESCRIPTORS.length * 8 - 1, AR.P | SYSTEM_TYPE.LDT);
    cpu.setSegment(SEG.TR, GDT.tss, KERNEL.tss, TSS.size - 1, AR.P | SYSTEM_TYPE.TSS32_BUSY);
    cpu.set("cr3", KERNEL.directory);
    cpu.set("cr0", CR0.PE | CR0.MP | CR0.ET | CR0.NE | CR0.WP | CR0.AM | CR0.PG);
    cpu.flushAll();
  }

  /** Run one case. Throws when the processor ends it otherwise than by an exception: that is a failure, too. */
  run(test: TestCase): TestResult {
    const machine = this.machine;
    const { memory } = machine;
    const { cpu } = machine.processor;
    const block = codeBlock(test);
    this.#writeCode(block.address, block.bytes);
    memory.set(test.window, WINDOW.base);
    for (let i = 0; i < 8; i++) cpu.setGpr(i, test.registers[i] as number);
    for (let i = 0; i < SEGMENTS.length; i++) this.#load(i, test.segments[i] as number);
    cpu.set("cpl", 3);
    cpu.setEflags(test.eflags);
    cpu.set("eip", test.address);
    cpu.set("cr2", 0);
    cpu.set("interruptibility", 0);
    cpu.set("activity", 0);
    this.#loadFpu(test.fpu);
    cpu.set("preemptionTimer", BUDGET);
    const reason = machine.processor.run();
    this.#writeCode(block.address, NO_CODE);
    this.#clearCode();
    const result = this.#result(test, reason);
    for (const address of result.memory.keys()) memory[address] = this.#pattern[address - SCRATCH.base] as number;
    return result;
  }

  /** Write code and drop what was decoded there; dropping everything would take most of a case's time. */
  #writeCode(address: number, bytes: Uint8Array): void {
    this.machine.memory.set(bytes, address);
    this.machine.processor.cpu.onCodeWrite(MACHINE + address, bytes.length);
  }

  /** Undo what a case wrote to the code pages. */
  #clearCode(): void {
    const { memory } = this.machine;
    const words = new Uint32Array(memory.buffer, memory.byteOffset + CODE.base, CODE.size / 4);
    if (words.some((word) => word !== INT3_WORD)) this.#writeCode(CODE.base, new Uint8Array(CODE.size).fill(INT3));
  }

  #result(test: TestCase, reason: number): TestResult {
    const { cpu } = this.machine.processor;
    const eip = cpu.get("eip") >>> 0;
    const vector = (eip - KERNEL.handlers) / HANDLER_STRIDE;
    const memory = this.#memoryChanges(test);
    if (reason !== EXIT.hlt || !Number.isInteger(vector) || vector < 0 || vector >= VECTORS) {
      this.#restorePattern();
      throw new Error(`exit ${reason & 0xffff} at ${eip.toString(16)}`);
    }
    let at = cpu.gpr(4) >>> 0;
    const pop = (): number => {
      at += 4;
      return this.#view.getUint32(at - 4, true);
    };
    const errorCode = hasErrorCode(vector) ? pop() : 0;
    const userEip = pop();
    const cs = pop();
    const eflags = pop();
    const esp = pop();
    const ss = pop();
    const registers = Uint32Array.from({ length: 8 }, (_, i) => (i === 4 ? esp : cpu.gpr(i)));
    const segments = Uint16Array.from(SEGMENTS, (name, i) =>
      name === "cs" ? cs : name === "ss" ? ss : cpu.segment(i, "selector"),
    );
    const address = vector === VECTOR.PF ? cpu.get("cr2") >>> 0 : 0;
    return { vector, errorCode, address, registers, eip: userEip, eflags, segments, fpu: this.#storeFpu(), memory };
  }

  #memoryChanges(test: TestCase): Map<number, number> {
    const changes = new Map<number, number>();
    const { memory } = this.machine;
    const words = new Uint32Array(memory.buffer, memory.byteOffset + SCRATCH.base, SCRATCH.size / 4);
    const expected = new Uint32Array(this.#pattern.buffer);
    for (let i = 0; i < words.length; i++) {
      const address = SCRATCH.base + 4 * i;
      const inWindow = address >= WINDOW.base && address < WINDOW.base + WINDOW.size;
      if (!inWindow && words[i] === expected[i]) continue;
      for (let k = 0; k < 4; k++) {
        const value = memory[address + k] as number;
        if (value !== initialByte(test, address + k)) changes.set(address + k, value);
      }
    }
    return changes;
  }

  #restorePattern(): void {
    this.machine.memory.set(this.#pattern, SCRATCH.base);
  }

  /** Load a segment register with its hidden part, as the descriptor tables say. */
  #load(segment: number, selector: number): void {
    const { cpu } = this.machine.processor;
    if (selector < 4) {
      cpu.setSegment(segment, selector, 0, 0, AR.UNUSABLE);
      return;
    }
    const at = ((selector & 4) !== 0 ? KERNEL.ldt : KERNEL.gdt) + (selector & ~7);
    const low = this.#view.getUint32(at, true);
    const high = this.#view.getUint32(at + 4, true);
    const base = (low >>> 16) | ((high & 0xff) << 16) | (high & 0xff000000);
    const limit = (low & 0xffff) | (high & 0xf0000);
    const bytes = (high & (1 << 23)) !== 0 ? ((limit << 12) | 0xfff) >>> 0 : limit;
    cpu.setSegment(segment, selector, base, bytes, (high >>> 8) & 0xf0ff);
  }

  #loadFpu(image: Uint8Array): void {
    const { cpu } = this.machine.processor;
    const source = new DataView(image.buffer, image.byteOffset, image.length);
    const status = source.getUint16(FPU_IMAGE.status, true);
    const tags = source.getUint16(FPU_IMAGE.tag, true);
    cpu.set("fcw", source.getUint16(FPU_IMAGE.control, true));
    cpu.set("fsw", status);
    let valid = 0;
    for (let i = 0; i < 8; i++) {
      if (((tags >> (2 * i)) & 3) !== TAG_EMPTY) valid |= 1 << i;
      const physical = ((status >> 11) + i) & 7;
      const from = FPU_IMAGE.environment + 10 * i;
      const to = STATE + FPU_REGS + 16 * physical;
      cpu.view.setBigUint64(to, source.getBigUint64(from, true), true);
      cpu.view.setUint16(to + 8, source.getUint16(from + 8, true), true);
    }
    cpu.set("ftw", valid);
  }

  #storeFpu(): Uint8Array {
    const { cpu } = this.machine.processor;
    const image = new Uint8Array(FPU_IMAGE.size);
    const target = new DataView(image.buffer);
    const status = cpu.get("fsw");
    const valid = cpu.get("ftw");
    let tags = 0;
    for (let i = 0; i < 8; i++) {
      const physical = ((status >> 11) + i) & 7;
      const from = STATE + FPU_REGS + 16 * physical;
      const to = FPU_IMAGE.environment + 10 * i;
      const significand = cpu.view.getBigUint64(from, true);
      const exponent = cpu.view.getUint16(from + 8, true);
      target.setBigUint64(to, significand, true);
      target.setUint16(to + 8, exponent, true);
      const tag = (valid >> physical) & 1 ? valueTag(significand, exponent & 0x7fff) : TAG_EMPTY;
      tags |= tag << (2 * physical);
    }
    target.setUint32(FPU_IMAGE.control, cpu.get("fcw") | 0xffff_0000, true);
    target.setUint32(FPU_IMAGE.status, status | 0xffff_0000, true);
    target.setUint32(FPU_IMAGE.tag, tags | 0xffff_0000, true);
    return image;
  }

  #writeTables(): void {
    const { memory } = this.machine;
    const view = this.#view;
    const descriptor = (selector: number, base: number, limit: number, ar: number): void => {
      view.setUint32(KERNEL.gdt + selector, ((base & 0xffff) << 16) | (limit & 0xffff), true);
      view.setUint32(
        KERNEL.gdt + selector + 4,
        (base & 0xff000000) | ((base >>> 16) & 0xff) | (ar << 8) | (limit & 0xf0000),
        true,
      );
    };
    const user = AR.DPL;
    descriptor(GDT.kernelCode, 0, 0xfffff, CODE32);
    descriptor(GDT.kernelData, 0, 0xfffff, DATA32);
    descriptor(GDT.userCode, 0, 0xfffff, CODE32 | user);
    descriptor(GDT.userData, 0, 0xfffff, DATA32 | user);
    descriptor(GDT.tss, KERNEL.tss, TSS.size - 1, AR.P | SYSTEM_TYPE.TSS32_BUSY);
    descriptor(GDT.ldt, KERNEL.ldt, LOCAL_DESCRIPTORS.length * 8 - 1, AR.P | SYSTEM_TYPE.LDT);
    for (const [i, d] of LOCAL_DESCRIPTORS.entries()) memory.set(descriptorBytes(d), KERNEL.ldt + 8 * i);
    for (let vector = 0; vector < VECTORS; vector++) {
      const offset = KERNEL.handlers + HANDLER_STRIDE * vector;
      const rights = AR.P | SYSTEM_TYPE.INT32 | (USER_GATES.has(vector) ? user : 0);
      view.setUint32(KERNEL.idt + 8 * vector, (GDT.kernelCode << 16) | (offset & 0xffff), true);
      view.setUint32(KERNEL.idt + 8 * vector + 4, (offset & 0xffff0000) | (rights << 8), true);
      memory[offset] = HLT;
    }
    view.setUint32(KERNEL.tss + TSS.esp0, KERNEL.stackTop, true);
    view.setUint16(KERNEL.tss + TSS.ss0, GDT.kernelData, true);
    view.setUint16(KERNEL.tss + TSS.ioMap, TSS.size, true);
    view.setUint32(KERNEL.directory, KERNEL.pages | PAGE.present | PAGE.write | PAGE.user, true);
    const map = (from: number, to: number, flags: number): void => {
      for (let at = from; at < to; at += PAGE.size) {
        view.setUint32(KERNEL.pages + (at >>> 12) * 4, at | PAGE.present | PAGE.write | flags, true);
      }
    };
    map(KERNEL.gdt, KERNEL.end, 0);
    map(CODE.base, CODE.base + CODE.size, PAGE.user);
    map(SCRATCH.base, SCRATCH.base + SCRATCH.size, PAGE.user);
  }
}

/** Tag of a register that is not empty: 0 valid, 1 zero, 2 special. SDM 1 8.1.7. */
function valueTag(significand: bigint, exponent: number): number {
  if (exponent === 0 && significand === 0n) return 1;
  return exponent === 0 || exponent === 0x7fff || significand >> 63n === 0n ? 2 : 0;
}
