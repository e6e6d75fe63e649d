/** Guest-physical memory of a domain for devices, firmware and the builder: RAM through p2m, the rest through the bus. */
import type { Cpu } from "../processor/cpu.ts";
import type { GuestMemory } from "./device.ts";
import type { DomainIoBus } from "./io-bus.ts";

const PAGE = 4096;
/** Guest-physical addresses that a bus master can name. */
const ADDRESSES = 2 ** 32;

export class DomainMemory implements GuestMemory {
  readonly size: number;
  readonly #cpu: Cpu;
  readonly #bus: DomainIoBus;

  constructor(cpu: Cpu, bus: DomainIoBus, size: number) {
    this.#cpu = cpu;
    this.#bus = bus;
    this.size = size;
  }

  /** Machine offset of an access that stays in one page, or -1. */
  #machine(gpa: number, bytes: number): number {
    return (gpa & (PAGE - 1)) + bytes > PAGE ? -1 : this.#cpu.machineOf(gpa >>> 0);
  }

  #writable(gpa: number, bytes: number): number {
    const machine = this.#machine(gpa, bytes);
    return machine >= 0 && this.#cpu.isRom(gpa) ? -1 : machine;
  }

  read8(gpa: number): number {
    const machine = this.#machine(gpa, 1);
    return machine >= 0 ? this.#cpu.u8[machine]! : this.#bus.mmioRead(gpa >>> 0, 1);
  }

  read16(gpa: number): number {
    const machine = this.#machine(gpa, 2);
    return machine >= 0 ? this.#cpu.view.getUint16(machine, true) : this.read8(gpa) | (this.read8(gpa + 1) << 8);
  }

  read32(gpa: number): number {
    const machine = this.#machine(gpa, 4);
    return machine >= 0
      ? this.#cpu.view.getUint32(machine, true)
      : (this.read16(gpa) | (this.read16(gpa + 2) << 16)) >>> 0;
  }

  write8(gpa: number, value: number): void {
    const machine = this.#writable(gpa, 1);
    if (machine >= 0) {
      this.#cpu.u8[machine] = value;
      this.#cpu.noteForeignWrite(machine, 1);
    } else this.#bus.mmioWrite(gpa >>> 0, 1, value & 0xff);
  }

  write16(gpa: number, value: number): void {
    const machine = this.#writable(gpa, 2);
    if (machine < 0) {
      this.write8(gpa, value);
      this.write8(gpa + 1, value >>> 8);
      return;
    }
    this.#cpu.view.setUint16(machine, value & 0xffff, true);
    this.#cpu.noteForeignWrite(machine, 2);
  }

  write32(gpa: number, value: number): void {
    const machine = this.#writable(gpa, 4);
    if (machine < 0) {
      this.write16(gpa, value);
      this.write16(gpa + 2, value >>> 16);
      return;
    }
    this.#cpu.view.setInt32(machine, value, true);
    this.#cpu.noteForeignWrite(machine, 4);
  }

  answers(gpa: number, length: number): boolean {
    if (gpa + length > ADDRESSES) return false;
    for (let at = gpa - (gpa % PAGE); at < gpa + length; at += PAGE)
      if (this.#cpu.machineOf(at) < 0 && !this.#bus.mmioAt(at / PAGE)) return false;
    return true;
  }

  read(gpa: number, target: Uint8Array): void {
    for (let done = 0; done < target.length; ) {
      const at = gpa + done;
      const length = Math.min(target.length - done, PAGE - (at & (PAGE - 1)));
      const machine = this.#cpu.machineOf(at);
      if (machine >= 0) target.set(this.#cpu.u8.subarray(machine, machine + length), done);
      else for (let i = 0; i < length; i++) target[done + i] = this.#bus.mmioRead(at + i, 1);
      done += length;
    }
  }

  write(gpa: number, source: Uint8Array): void {
    for (let done = 0; done < source.length; ) {
      const at = gpa + done;
      const length = Math.min(source.length - done, PAGE - (at & (PAGE - 1)));
      const machine = this.#cpu.machineOf(at);
      if (machine < 0 || this.#cpu.isRom(at)) {
        for (let i = 0; i < length; i++) this.#bus.mmioWrite(at + i, 1, source[done + i]!);
      } else {
        this.#cpu.u8.set(source.subarray(done, done + length), machine);
        this.#cpu.noteForeignWrite(machine, length);
      }
      done += length;
    }
  }
}
