/**
 * Guest-physical space of a domain: what of RAM, ROM and device memory stands at each page frame, as the chipset decodes
 * it. Keeps the engine's p2m map in step when claims move or the guest shadows its ROM.
 */
import { type Cpu, P2M_TYPE } from "../processor/cpu.ts";
import { MACHINE } from "../processor/memory-map.ts";
import type { AccessSize, DeviceMemory, MmioDevice, ShadowControl } from "./device.ts";
import { OVER_RAM } from "./device.ts";
import { DomainDeviceMemory } from "./device-memory.ts";
import type { DomainIoBus } from "./io-bus.ts";

const PAGE = 4096;
const FRAMES = 1 << 20;
/** Frames between RAM and RAM: the display's window, then ROM and what shadows it. */
const HOLE = { start: 0xa0, rom: 0xc0, end: 0x100 } as const;
const ROM_PAGES = HOLE.end - HOLE.rom;
const NOWHERE = -1;
const OPEN_BUS = { 1: 0xff, 2: 0xffff, 4: 0xffff_ffff } as const;

export class PhysicalMap implements ShadowControl {
  readonly #cpu: Cpu;
  readonly #bus: DomainIoBus;
  readonly #ramFrames: number;
  /** p2m entries by frame from HOLE.start: a device's window opened to memory. */
  readonly #windows = new Int32Array(HOLE.rom - HOLE.start).fill(NOWHERE);
  /** Machine offsets of ROM, by frame. */
  readonly #rom = new Map<number, number>();
  /** By frame from HOLE.rom: DRAM answers reads, takes writes. */
  readonly #readsRam = new Uint8Array(ROM_PAGES);
  readonly #writesRam = new Uint8Array(ROM_PAGES);
  #smram = false;

  /** For `ram` bytes of RAM, which is mapped now. */
  constructor(cpu: Cpu, bus: DomainIoBus, ram: number) {
    this.#cpu = cpu;
    this.#bus = bus;
    this.#ramFrames = ram / PAGE;
    for (let frame = 0; frame < this.#ramFrames; frame++) {
      if (frame < HOLE.start || frame >= HOLE.end) cpu.setP2m(frame, MACHINE + frame * PAGE, P2M_TYPE.ram);
    }
    const device: MmioDevice = {
      read: (_offset, size) => OPEN_BUS[size],
      write: (offset, size, value) => this.#writeShadow(offset, size, value),
      immediate: () => true,
    };
    bus.claimMmio({ name: "rom", base: HOLE.rom * PAGE, size: ROM_PAGES * PAGE, device });
    bus.onPagesChanged = (first, count) => this.settle(first, count);
  }

  /** ROM from now on at `base`: `size` bytes, whole pages, at machine offset `machine`. */
  addRom(base: number, size: number, machine: number): void {
    const first = base / PAGE;
    for (let page = 0; page < size / PAGE; page++) this.#rom.set(first + page, machine + page * PAGE);
    this.settle(first, size / PAGE);
  }

  /** Whether there is ROM at `gpa`, shown or not. */
  hasRom(gpa: number): boolean {
    return this.#rom.has(Math.floor(gpa / PAGE));
  }

  /** A device's window, between A0000h and BFFFFh, is memory from a machine offset on; NOWHERE: the device is asked. */
  setWindow(base: number, size: number, machine: number): void {
    for (let at = 0; at < size; at += PAGE)
      this.#windows[(base + at) / PAGE - HOLE.start] = machine < 0 ? NOWHERE : machine + at;
    this.settle(base / PAGE, size / PAGE);
  }

  shadow(base: number, size: number, read: boolean, write: boolean): void {
    const first = base / PAGE - HOLE.rom;
    this.#readsRam.fill(read ? 1 : 0, first, first + size / PAGE);
    this.#writesRam.fill(write ? 1 : 0, first, first + size / PAGE);
    this.settle(base / PAGE, size / PAGE);
  }

  openSmram(open: boolean): void {
    this.#smram = open;
    this.settle(HOLE.start, HOLE.rom - HOLE.start);
  }

  /** Map `count` frames from `first` on as they should be now. */
  settle(first: number, count: number): void {
    for (let frame = first; frame < Math.min(first + count, FRAMES); frame++) {
      const entry = this.#entry(frame);
      this.#cpu.setP2m(frame, entry & -PAGE, entry & (PAGE - 1));
    }
  }

  /** Machine offset and type of a frame, or NOWHERE. */
  #entry(frame: number): number {
    const claim = this.#bus.mmioAt(frame);
    if (claim && this.#bus.order(claim) === OVER_RAM) return NOWHERE;
    const ram = MACHINE + frame * PAGE;
    if (frame >= HOLE.start && frame < HOLE.rom) return this.#smram ? ram : this.#windows[frame - HOLE.start]!;
    if (frame < this.#ramFrames && (frame < HOLE.start || frame >= HOLE.end)) return ram;
    if (frame >= HOLE.rom && frame < HOLE.end && this.#readsRam[frame - HOLE.rom])
      return ram | (this.#writesRam[frame - HOLE.rom] ? P2M_TYPE.ram : P2M_TYPE.rom);
    const rom = this.#rom.get(frame);
    if (rom !== undefined) return rom | P2M_TYPE.rom;
    return claim?.memory instanceof DomainDeviceMemory
      ? this.#memory(claim.memory, frame * PAGE - claim.base)
      : NOWHERE;
  }

  /** Machine offset of a page of device memory that the claim on it covers; lockstep's has none. */
  #memory(memory: DeviceMemory, offset: number): number {
    return memory instanceof DomainDeviceMemory && offset >= 0 && offset + PAGE <= memory.bytes.length
      ? memory.machine + offset
      : NOWHERE;
  }

  /** A write to where ROM is read: DRAM takes it where it is enabled for writing. */
  #writeShadow(offset: number, size: AccessSize, value: number): void {
    if (!this.#writesRam[Math.floor(offset / PAGE)]) return;
    const machine = MACHINE + HOLE.rom * PAGE + offset;
    const { view } = this.#cpu;
    if (size === 1) view.setUint8(machine, value);
    else if (size === 2) view.setUint16(machine, value, true);
    else view.setUint32(machine, value, true);
    this.#cpu.noteWrite(machine, size);
  }
}
