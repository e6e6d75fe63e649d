/** An IDE channel with its wires in the hands of a test. */
import { IdeChannel } from "../../src/devices/ide.ts";
import type { IdeUnit } from "../../src/hypervisor/backend.ts";
import { FakeLine, FakeMemory } from "./device-fakes.ts";
import { FakeClock } from "./fake-clock.ts";

/** A channel on a bench. */
export class IdeBench {
  readonly clock = new FakeClock();
  readonly irq = new FakeLine();
  readonly memory: FakeMemory;
  readonly ide: IdeChannel;

  /** Two units at most; memory of another size may come before them. */
  constructor(...parts: (FakeMemory | IdeUnit | undefined)[]) {
    const [first] = parts;
    const units = parts.filter((part) => !(part instanceof FakeMemory)) as (IdeUnit | undefined)[];
    this.memory = first instanceof FakeMemory ? first : new FakeMemory(1 << 21);
    this.ide = new IdeChannel({ clock: this.clock, irq: this.irq, memory: this.memory, units });
  }

  read(register: number): number {
    return this.ide.read(register, 1);
  }

  write(register: number, value: number): void {
    this.ide.write(register, 1, value);
  }

  /** Status without taking the interrupt back. */
  get status(): number {
    return this.ide.control.read(0, 1);
  }

  lba(unit: number, lba: number, count: number): void {
    this.write(6, 0xe0 | (unit << 4) | ((lba >> 24) & 15));
    this.write(2, count);
    this.write(3, lba & 0xff);
    this.write(4, (lba >> 8) & 0xff);
    this.write(5, (lba >> 16) & 0xff);
  }

  /** Registers of an extended command: the older bytes first. */
  lba48(unit: number, lba: number, count: number): void {
    this.write(6, 0x40 | (unit << 4));
    this.write(2, count >> 8);
    this.write(2, count & 0xff);
    for (const [register, shift] of [
      [3, 24],
      [4, 32],
      [5, 40],
      [3, 0],
      [4, 8],
      [5, 16],
    ] as const)
      this.write(register, Math.floor(lba / 2 ** shift) & 0xff);
  }

  /** The 48-bit address that the registers show. */
  get address48(): number {
    const low = this.read(3) | (this.read(4) << 8) | (this.read(5) << 16);
    this.ide.control.write(0, 1, 0x80);
    const high = this.read(3) | (this.read(4) << 8) | (this.read(5) << 16);
    this.ide.control.write(0, 1, 0x00);
    return high * 2 ** 24 + low;
  }

  /** Put a table of regions at `at` and tell the bus master. The last one ends the table unless `open`. */
  regions(at: number, list: readonly (readonly [address: number, bytes: number])[], open = false): void {
    list.forEach(([address, bytes], i) => {
      this.memory.write32(at + 8 * i, address);
      this.memory.write32(at + 8 * i + 4, (bytes & 0xffff) + (!open && i === list.length - 1 ? 2 ** 31 : 0));
    });
    this.ide.busMaster.write(4, 4, at);
  }

  get busMasterStatus(): number {
    return this.ide.busMaster.read(2, 1);
  }

  get address(): number {
    return this.read(3) | (this.read(4) << 8) | (this.read(5) << 16) | ((this.read(6) & 15) << 24);
  }

  async command(opcode: number): Promise<void> {
    this.write(7, opcode);
    await this.clock.settle();
  }

  readWords(count: number): Uint8Array {
    const bytes = new Uint8Array(count * 2);
    for (let i = 0; i < count; i++) {
      const word = this.ide.read(0, 2);
      bytes[2 * i] = word & 0xff;
      bytes[2 * i + 1] = word >> 8;
    }
    return bytes;
  }
}
