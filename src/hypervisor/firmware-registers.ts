/** A vCPU's registers as firmware services see them. */
import { SEG } from "../isa/state.ts";
import type { Cpu } from "../processor/cpu.ts";
import { loadRealSegment } from "../processor/descriptors.ts";
import type { FirmwareCpu, SegmentName } from "./firmware-cpu.ts";

const NUMBER: Readonly<Record<SegmentName, number>> = {
  es: SEG.ES,
  cs: SEG.CS,
  ss: SEG.SS,
  ds: SEG.DS,
  fs: SEG.FS,
  gs: SEG.GS,
};

export class FirmwareRegisters implements FirmwareCpu {
  readonly #cpu: Cpu;
  readonly #setA20: (level: boolean) => void;

  constructor(cpu: Cpu, setA20: (level: boolean) => void) {
    this.#cpu = cpu;
    this.#setA20 = setA20;
  }

  get eax(): number {
    return this.#cpu.gpr(0) >>> 0;
  }
  set eax(value: number) {
    this.#cpu.setGpr(0, value);
  }
  get ecx(): number {
    return this.#cpu.gpr(1) >>> 0;
  }
  set ecx(value: number) {
    this.#cpu.setGpr(1, value);
  }
  get edx(): number {
    return this.#cpu.gpr(2) >>> 0;
  }
  set edx(value: number) {
    this.#cpu.setGpr(2, value);
  }
  get ebx(): number {
    return this.#cpu.gpr(3) >>> 0;
  }
  set ebx(value: number) {
    this.#cpu.setGpr(3, value);
  }
  get esp(): number {
    return this.#cpu.gpr(4) >>> 0;
  }
  set esp(value: number) {
    this.#cpu.setGpr(4, value);
  }
  get ebp(): number {
    return this.#cpu.gpr(5) >>> 0;
  }
  set ebp(value: number) {
    this.#cpu.setGpr(5, value);
  }
  get esi(): number {
    return this.#cpu.gpr(6) >>> 0;
  }
  set esi(value: number) {
    this.#cpu.setGpr(6, value);
  }
  get edi(): number {
    return this.#cpu.gpr(7) >>> 0;
  }
  set edi(value: number) {
    this.#cpu.setGpr(7, value);
  }
  get eip(): number {
    return this.#cpu.get("eip") >>> 0;
  }
  set eip(value: number) {
    this.#cpu.set("eip", value);
  }
  get eflags(): number {
    return this.#cpu.eflags() >>> 0;
  }
  set eflags(value: number) {
    this.#cpu.setEflags(value);
  }

  selector(segment: SegmentName): number {
    return this.#cpu.segment(NUMBER[segment], "selector");
  }

  loadSelector(segment: SegmentName, selector: number): void {
    loadRealSegment(this.#cpu, NUMBER[segment], selector);
    this.#cpu.updateMode();
  }

  base(segment: SegmentName): number {
    return this.#cpu.segment(NUMBER[segment], "base") >>> 0;
  }

  get a20(): boolean {
    return this.#cpu.get("a20Mask") === -1;
  }

  set a20(level: boolean) {
    this.#setA20(level);
  }
}
