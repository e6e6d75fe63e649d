/**
 * One call of a BIOS service: the caller's registers by their names, the flags that IRET will restore, and memory by
 * segment and offset. Thin; a service reads as the interrupt reference describes it.
 */
import type { SegmentName } from "../cpu.ts";
import type { ServiceContext } from "../service.ts";
import { BDA, PORT } from "./layout.ts";

/** EFLAGS bits that services use. */
export const FLAG = { CF: 0x0001, ZF: 0x0040, IF: 0x0200 } as const;

const ADDRESS_LINE_20 = 0x100000;
const NMI_ENABLED_MASK = 0x7f;

/** Offset in the ROM of a label of its assembly text. */
export type Label = (name: string) => number;

type Register = "eax" | "ebx" | "ecx" | "edx";

export class Call {
  readonly context: ServiceContext;
  /** False behind a far call from protected mode, whose caller sees the flags as the service leaves them. */
  readonly realMode: boolean;

  /** `entry` is how the caller came here, and how the stub returns. */
  constructor(context: ServiceContext, entry: "interrupt" | "far" = "interrupt") {
    this.context = context;
    this.realMode = entry === "interrupt";
  }

  private low(register: Register): number {
    return this.context.cpu[register] & 0xff;
  }
  private setLow(register: Register, value: number): void {
    const { cpu } = this.context;
    cpu[register] = ((cpu[register] & ~0xff) | (value & 0xff)) >>> 0;
  }
  private high(register: Register): number {
    return (this.context.cpu[register] >>> 8) & 0xff;
  }
  private setHigh(register: Register, value: number): void {
    const { cpu } = this.context;
    cpu[register] = ((cpu[register] & ~0xff00) | ((value & 0xff) << 8)) >>> 0;
  }
  private word(register: Register | "esi" | "edi" | "ebp"): number {
    return this.context.cpu[register] & 0xffff;
  }
  private setWord(register: Register | "esi" | "edi" | "ebp", value: number): void {
    const { cpu } = this.context;
    cpu[register] = ((cpu[register] & ~0xffff) | (value & 0xffff)) >>> 0;
  }

  get al(): number {
    return this.low("eax");
  }
  set al(value: number) {
    this.setLow("eax", value);
  }
  get ah(): number {
    return this.high("eax");
  }
  set ah(value: number) {
    this.setHigh("eax", value);
  }
  get ax(): number {
    return this.word("eax");
  }
  set ax(value: number) {
    this.setWord("eax", value);
  }
  get bl(): number {
    return this.low("ebx");
  }
  set bl(value: number) {
    this.setLow("ebx", value);
  }
  get bh(): number {
    return this.high("ebx");
  }
  set bh(value: number) {
    this.setHigh("ebx", value);
  }
  get bx(): number {
    return this.word("ebx");
  }
  set bx(value: number) {
    this.setWord("ebx", value);
  }
  get cl(): number {
    return this.low("ecx");
  }
  set cl(value: number) {
    this.setLow("ecx", value);
  }
  get ch(): number {
    return this.high("ecx");
  }
  set ch(value: number) {
    this.setHigh("ecx", value);
  }
  get cx(): number {
    return this.word("ecx");
  }
  set cx(value: number) {
    this.setWord("ecx", value);
  }
  get dl(): number {
    return this.low("edx");
  }
  set dl(value: number) {
    this.setLow("edx", value);
  }
  get dh(): number {
    return this.high("edx");
  }
  set dh(value: number) {
    this.setHigh("edx", value);
  }
  get dx(): number {
    return this.word("edx");
  }
  set dx(value: number) {
    this.setWord("edx", value);
  }
  get si(): number {
    return this.word("esi");
  }
  set si(value: number) {
    this.setWord("esi", value);
  }
  get di(): number {
    return this.word("edi");
  }
  set di(value: number) {
    this.setWord("edi", value);
  }

  /** Memory address of segment:offset; the offset wraps at 64 KB and address line 20 is honoured. */
  address(segment: SegmentName, offset: number): number {
    return this.masked(this.context.cpu.base(segment) + (offset & 0xffff));
  }

  /** Memory address of a real-mode far pointer. */
  far(segment: number, offset: number): number {
    return this.masked(segment * 16 + (offset & 0xffff));
  }

  private masked(address: number): number {
    return this.context.cpu.a20 ? address >>> 0 : (address & ~ADDRESS_LINE_20) >>> 0;
  }

  /** Guest-physical address of the extended BIOS data area. */
  get ebda(): number {
    return this.context.memory.read16(BDA.EBDA_SEGMENT) * 16;
  }

  /** FLAGS as the stub's IRET will load them: the third word of the interrupt frame on top of the stack. */
  private get flagsAddress(): number {
    return this.address("ss", this.context.cpu.esp + 4);
  }
  private returnFlag(bit: number): boolean {
    if (!this.realMode) return (this.context.cpu.eflags & bit) !== 0;
    return (this.context.memory.read16(this.flagsAddress) & bit) !== 0;
  }
  private setReturnFlag(bit: number, on: boolean): void {
    if (!this.realMode) {
      this.setStubFlag(bit, on);
      return;
    }
    const { memory } = this.context;
    const at = this.flagsAddress;
    const flags = memory.read16(at);
    memory.write16(at, on ? flags | bit : flags & ~bit);
  }

  /** The carry flag that the caller gets. */
  get carry(): boolean {
    return this.returnFlag(FLAG.CF);
  }
  set carry(on: boolean) {
    this.setReturnFlag(FLAG.CF, on);
  }
  /** The zero flag that the caller gets. */
  get zero(): boolean {
    return this.returnFlag(FLAG.ZF);
  }
  set zero(on: boolean) {
    this.setReturnFlag(FLAG.ZF, on);
  }

  /** True when the caller had interrupts enabled. */
  get interruptible(): boolean {
    return this.returnFlag(FLAG.IF);
  }

  private setStubFlag(bit: number, on: boolean): void {
    const { cpu } = this.context;
    cpu.eflags = (on ? cpu.eflags | bit : cpu.eflags & ~bit) >>> 0;
  }

  /** The zero flag that the ROM stub itself sees after the trap. */
  set stubZero(on: boolean) {
    this.setStubFlag(FLAG.ZF, on);
  }

  /** The carry flag that the ROM stub itself sees after the trap. */
  set stubCarry(on: boolean) {
    this.setStubFlag(FLAG.CF, on);
  }

  /** Guest time in whole milliseconds, cut to 32 bits. */
  get milliseconds(): number {
    return Math.floor(this.context.clock.now() / 1e6) >>> 0;
  }

  readCmos(index: number): number {
    const { io } = this.context;
    io.out(PORT.CMOS_INDEX, 1, index & NMI_ENABLED_MASK);
    return io.in(PORT.CMOS_DATA, 1);
  }
  writeCmos(index: number, value: number): void {
    const { io } = this.context;
    io.out(PORT.CMOS_INDEX, 1, index & NMI_ENABLED_MASK);
    io.out(PORT.CMOS_DATA, 1, value & 0xff);
  }

  /** Continue at another place of the ROM once the service returns. */
  goTo(offset: number): void {
    this.context.cpu.eip = offset;
  }
}

/** True once `deadline`, a {@link Call.milliseconds} value, is reached; right across the wrap of 32 bits. */
export function reached(now: number, deadline: number): boolean {
  return ((now - deadline) | 0) >= 0;
}

/** Binary value of a packed BCD byte. */
export function fromBcd(value: number): number {
  return (value >> 4) * 10 + (value & 0x0f);
}
