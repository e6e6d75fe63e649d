/**
 * A hostile guest that only talks to devices, made from a seed: any access to whatever is claimed on the buses, and the
 * structures that devices read by themselves: descriptors, packets, task files, configuration space. No access may throw or
 * give what is no number, reach outside an image, or leave a device in a state that cannot be saved and restored.
 */
import { decode, encode } from "../../src/common/cbor.ts";
import { createPc } from "../../src/devices/pc.ts";
import { Vga, VIDEO_MEMORY_SIZE } from "../../src/devices/vga/vga.ts";
import type { BlockBackend } from "../../src/hypervisor/backend.ts";
import type { AccessSize } from "../../src/hypervisor/device.ts";
import { HvmDomain } from "../../src/hypervisor/hvm-domain.ts";
import { hashPlain } from "../../src/toolstack/state-hash.ts";
import { Random } from "../oracle/random.ts";
import { fakeCdrom, fakeDisc, fakeDisk, fakeFloppy } from "../support/device-fakes.ts";
import { number } from "./code.ts";

const RAM = 2 << 20;
const SIZES: readonly AccessSize[] = [1, 1, 1, 2, 2, 4, 4];
const PORTS = 0x10000;
/** Actions between two looks at what is claimed where: windows move. */
const SURVEY = 100;
/** Task files of the channels, and the configuration mechanism: what a random walk over all ports hits too seldom. */
const TASK_FILES = [0x1f0, 0x170] as const;
const CONFIG = { ADDRESS: 0xcf8, DATA: 0xcfc } as const;
const ATA = { PACKET: 0xa0, COUNT: 2, SECTOR: 3, LOW: 4, HIGH: 5, DEVICE: 6, COMMAND: 7 } as const;
/** Commands that transfer, by PIO and DMA, in all widths. */
const TRANSFERS = [
  0x20, 0x24, 0x25, 0x29, 0x30, 0x34, 0x35, 0x39, 0x40, 0xa1, 0xb0, 0xc4, 0xc5, 0xc6, 0xc8, 0xca, 0xe4, 0xe8, 0xec, 0xef,
] as const; // biome-ignore format: a list
/** Packets that a drive knows, with transfers (MMC-5). */
const PACKETS = [
  0x00, 0x03, 0x12, 0x1a, 0x1b, 0x1e, 0x25, 0x28, 0x2b, 0x42, 0x43, 0x46, 0x4a, 0x51, 0x52, 0x55, 0x5a, 0xa8, 0xad, 0xb9,
  0xbb, 0xbd, 0xbe,
] as const; // biome-ignore format: a list

export interface DevicesResult {
  readonly kind: string;
  readonly defect: string | undefined;
}

/** Notes accesses outside of an image. */
function guarded(backend: BlockBackend, complain: (what: string) => void): BlockBackend {
  const check = (verb: string, offset: number, length: number): void => {
    if (!Number.isSafeInteger(offset) || offset < 0 || offset + length > backend.size)
      complain(`${verb} of ${length} bytes at ${offset} of ${backend.size}`);
  };
  return {
    size: backend.size,
    readonly: backend.readonly,
    read(offset, target) {
      check("read", offset, target.length);
      return backend.read(offset, target);
    },
    write(offset, source) {
      check("write", offset, source.length);
      if (backend.readonly) complain("write to a read-only image");
      return backend.write(offset, source);
    },
    discard(offset, length) {
      check("discard", offset, length);
      return backend.discard(offset, length);
    },
    flush: () => backend.flush(),
    close: () => backend.close(),
  };
}

/** A machine with everything in it, whose time is moved by hand. */
function hostileMachine(complain: (what: string) => void) {
  const domain = new HvmDomain({ memory: RAM, clock: "instructions" });
  const vga = new Vga({ clock: domain.clock, memory: domain.deviceMemory(VIDEO_MEMORY_SIZE) });
  const medium = <T extends { readonly backend: BlockBackend }>(of: T): T => ({
    ...of,
    backend: guarded(of.backend, complain),
  });
  const floppies = [1440, 360].map((kilobytes) => {
    const drive = fakeFloppy(kilobytes);
    return { ...drive, medium: medium(drive.medium) };
  });
  const cdrom = fakeCdrom();
  cdrom.medium = medium(fakeDisc(100));
  const pc = createPc({
    bus: domain.bus,
    memory: domain.memory,
    clock: domain.clock,
    intr: domain.intr,
    a20: { set: (level) => domain.setA20(level) },
    shadow: domain.physical,
    reset: () => {},
    power: { sleep() {}, wake() {} },
    floppies,
    units: [medium(fakeDisk(2)), medium(fakeDisk(1, { readonly: true })), medium(fakeDisk(1)), cdrom],
    serial: [{ write() {} }, { write() {} }],
    vga,
  });
  domain.setInterruptController(pc.pic);
  return { domain, pc, vga };
}

type Machine = ReturnType<typeof hostileMachine>;

/** One hostile guest's doings. */
class Hostility {
  readonly #random: Random;
  readonly #machine: Machine;
  readonly #complain: (what: string) => void;
  #ports: number[] = [];
  #windows: { base: number; size: number }[] = [];

  constructor(random: Random, machine: Machine, complain: (what: string) => void) {
    this.#random = random;
    this.#machine = machine;
    this.#complain = complain;
  }

  /** See what is claimed now. */
  survey(): void {
    const { bus } = this.#machine.domain;
    this.#ports = [];
    for (let port = 0; port < PORTS; port++) if (bus.deviceAt(port)) this.#ports.push(port);
    this.#windows = [...bus.mmioRanges()].map(({ base, size }) => ({ base, size }));
  }

  #value(): number {
    const random = this.#random;
    return random.pick([random.below(256), random.below(4), number(random), random.u32(), 0, 0xffff_ffff]) >>> 0;
  }

  #in(port: number, size: AccessSize): void {
    const value = this.#machine.domain.bus.in(port, size);
    if (!Number.isInteger(value) || value < 0 || value >= 2 ** (8 * size))
      this.#complain(`port ${port.toString(16)}h read as ${value} in ${size} bytes`);
  }

  #out(port: number, size: AccessSize, value: number): void {
    this.#machine.domain.bus.out(port, size, size === 4 ? value : value % 2 ** (8 * size));
  }

  /** Any port that somebody has claimed. */
  port(): void {
    const port = this.#random.pick(this.#ports);
    const size = this.#random.pick(SIZES);
    if (this.#random.oneIn(3)) this.#in(port, size);
    else this.#out(port, size, this.#value());
  }

  /** Any address of a claim on memory. */
  window(): void {
    const random = this.#random;
    const { domain } = this.#machine;
    const { base, size } = random.pick(this.#windows);
    const at = base + random.below(Math.min(size, random.pick([16, 256, 0x1000, size])));
    const bytes = random.pick(SIZES);
    if (random.oneIn(3)) {
      const value = domain.bus.mmioRead(at, bytes);
      if (!Number.isInteger(value) || value < 0 || value >= 2 ** (8 * bytes))
        this.#complain(`memory at ${at.toString(16)}h read as ${value} in ${bytes} bytes`);
    } else {
      const value = this.#value();
      domain.bus.mmioWrite(at, bytes, bytes === 4 ? value : value % 2 ** (8 * bytes));
    }
  }

  /** Configuration space of a function that is there, or of none. */
  configuration(): void {
    const random = this.#random;
    const device = random.pick([0, 1, 1, 1, 2, 3, random.below(32)]);
    const register = random.pick([4, 0x10 + 4 * random.below(6), 0x20, 0x30, 0x40, 0x80, random.below(256)]) & 0xfc;
    this.#out(CONFIG.ADDRESS, 4, (0x8000_0000 | (device << 11) | (random.below(4) << 8) | register) >>> 0);
    const at = CONFIG.DATA + random.below(4);
    if (random.oneIn(4)) this.#in(at, random.pick(SIZES));
    else this.#out(at, random.pick(SIZES), random.pick([this.#value(), 0xc001, 0xe000_0000, 7]));
  }

  /** A table of physical region descriptors (82371AB 5.2), and engines that start on it. */
  descriptors(): void {
    const random = this.#random;
    const { domain } = this.#machine;
    const table = random.pick([0x1000, RAM - 8, random.below(RAM), 0xffff_fff8, random.u32()]) & ~3;
    for (let i = random.below(20); i >= 0; i--) {
      const at = (table + i * 8) >>> 0;
      domain.memory.write32(at, random.pick([random.below(RAM), RAM - 512, 0xa0000, 0xffff_f000, random.u32()]));
      domain.memory.write32(at + 4, random.pick([0x8000_0200, 0x200, 0, 0x8000_0000, 2, 0xfffe, random.u32()]));
    }
    for (const port of this.#ports) {
      if (port < 0x1000) continue;
      // Bus masters stand where the guest puts them: any window of ports above the legacy devices may be one.
      const register = port & 15;
      if (register % 8 === 4 && random.oneIn(3)) this.#out(port, 4, table >>> 0);
      else if (register % 8 === 0 && random.oneIn(3)) this.#out(port, 1, random.pick([1, 8, 9, 0]));
    }
  }

  /** A command to a disk or a CD drive, with what follows it. */
  command(): void {
    const random = this.#random;
    const base = random.pick(TASK_FILES);
    this.#out(base + ATA.DEVICE, 1, random.pick([0xe0, 0xf0, 0xa0, 0xb0, random.below(256)]));
    for (const register of [1, ATA.COUNT, ATA.SECTOR, ATA.LOW, ATA.HIGH])
      for (let twice = random.below(3); twice > 0; twice--)
        this.#out(base + register, 1, random.pick([0, 1, 2, 0xff, random.below(256)]));
    if (random.oneIn(3)) {
      this.#out(base + ATA.COMMAND, 1, ATA.PACKET);
      const packet = Array.from({ length: 12 }, () => random.pick([0, 0, 1, 0xff, random.below(256)]));
      packet[0] = random.pick([...PACKETS, random.below(256)]);
      for (let i = 0; i < 12; i += 2) this.#out(base, 2, packet[i]! | (packet[i + 1]! << 8));
    } else this.#out(base + ATA.COMMAND, 1, random.pick([...TRANSFERS, random.below(256)]));
    this.#data(base);
  }

  #data(base: number): void {
    const random = this.#random;
    const claim = this.#machine.domain.bus.stringPort(base, 2);
    for (let n = random.below(4); n > 0; n--) {
      const bytes = new Uint8Array(2 * random.below(2048));
      if (random.oneIn(2)) claim?.device.readString?.(claim.offset, 2, bytes);
      else claim?.device.writeString?.(claim.offset, 2, bytes);
      this.#in(base, random.pick(SIZES));
    }
  }

  /** What comes from outside. */
  outside(): void {
    const random = this.#random;
    const { pc, vga } = this.#machine;
    switch (random.below(6)) {
      case 0:
        pc.keyboard.key(random.pick(["KeyA", "Enter", "Pause", "PrintScreen"]), random.oneIn(2));
        break;
      case 1:
        pc.mouse.move(random.below(600) - 300, random.below(600) - 300, random.below(20) - 10, random.below(32));
        break;
      case 2:
        pc.uarts[random.below(2)]?.receive(new Uint8Array(random.below(40)));
        break;
      case 3:
        vga.frame();
        break;
      case 4:
        if (pc.pic.pending) pc.pic.acknowledge();
        break;
      default:
        if (random.oneIn(20)) pc.reset();
    }
  }

  /** Time passes, and the host does what it was asked for. */
  async time(): Promise<void> {
    const { clock } = this.#machine.domain;
    clock.advance(this.#random.pick([1, 100, 10_000, 1_000_000, 50_000_000]));
    for (let turns = 0; turns < 50; turns++) {
      clock.fire();
      if (!clock.blocker) return;
      await clock.blocker;
    }
  }
}

/** Every device's state through the bytes of a saved domain, and back. */
function roundTrip({ pc }: Machine, complain: (what: string) => void): void {
  const states = pc.devices.map(([name, device]) => [name, device, decode(encode(device.state()))] as const);
  for (const [, device, state] of states) device.restore(state);
  for (const [name, device, state] of states)
    if (hashPlain(device.state()) !== hashPlain(state)) complain(`the state of ${name} does not come back`);
}

/** Do `actions` to a machine, by the seed. What must not happen is in the result. */
export async function runDevices(seed: number, actions: number): Promise<DevicesResult> {
  const random = new Random(seed);
  let defect: string | undefined;
  const complain = (what: string): void => {
    defect ??= what;
  };
  try {
    const machine = hostileMachine(complain);
    const guest = new Hostility(random, machine, complain);
    for (let i = 0; i < actions && defect === undefined; i++) {
      if (i % SURVEY === 0) guest.survey();
      const what = random.below(24);
      if (what < 8) guest.port();
      else if (what < 11) guest.window();
      else if (what < 13) guest.configuration();
      else if (what < 14) guest.descriptors();
      else if (what < 18) guest.command();
      else if (what < 20) guest.outside();
      else await guest.time();
    }
    await machine.domain.clock.settled();
    roundTrip(machine, complain);
    await machine.domain.clock.settled();
  } catch (error) {
    complain(`thrown: ${error instanceof Error ? error.stack : error}`);
  }
  return { kind: "devices", defect };
}
