/** Stand-ins for what devices are wired to: lines, guest memory, images, a port bus. */
import { VmxonError } from "../../src/common/errors.ts";
import type { PcVideo } from "../../src/devices/pc.ts";
import type {
  BlockBackend,
  CdDrive,
  CdMedium,
  Disk,
  FloppyDrive,
  FloppyMedium,
  Geometry,
} from "../../src/hypervisor/backend.ts";
import type {
  AccessSize,
  DeviceMemory,
  GuestMemory,
  InterruptLine,
  IoBus,
  MmioRange,
  Placement,
  PortDevice,
  PortRange,
  ShadowControl,
} from "../../src/hypervisor/device.ts";

/** A line that remembers its level and counts its rising edges. */
export class FakeLine implements InterruptLine {
  level = false;
  edges = 0;

  set(level: boolean): void {
    if (level && !this.level) this.edges++;
    this.level = level;
  }
}

/** RAM from guest-physical 0. */
export class FakeMemory implements GuestMemory {
  readonly bytes: Uint8Array;
  private readonly view: DataView;

  constructor(size: number) {
    this.bytes = new Uint8Array(size);
    this.view = new DataView(this.bytes.buffer);
  }

  get size(): number {
    return this.bytes.length;
  }

  private holds(gpa: number, bytes: number): boolean {
    return gpa >= 0 && gpa + bytes <= this.size;
  }

  answers(gpa: number, length: number): boolean {
    return this.holds(gpa, length);
  }

  read8(gpa: number): number {
    return this.holds(gpa, 1) ? this.view.getUint8(gpa) : 0xff;
  }

  read16(gpa: number): number {
    return this.holds(gpa, 2) ? this.view.getUint16(gpa, true) : 0xffff;
  }

  read32(gpa: number): number {
    return this.holds(gpa, 4) ? this.view.getUint32(gpa, true) : 0xffff_ffff;
  }

  write8(gpa: number, value: number): void {
    if (this.holds(gpa, 1)) this.view.setUint8(gpa, value);
  }

  write16(gpa: number, value: number): void {
    if (this.holds(gpa, 2)) this.view.setUint16(gpa, value, true);
  }

  write32(gpa: number, value: number): void {
    if (this.holds(gpa, 4)) this.view.setUint32(gpa, value, true);
  }

  read(gpa: number, target: Uint8Array): void {
    for (let i = 0; i < target.length; i++) target[i] = this.read8(gpa + i);
  }

  write(gpa: number, source: Uint8Array): void {
    for (let i = 0; i < source.length; i++) this.write8(gpa + i, source[i]!);
  }
}

/** An image in memory. Its operations fail while `broken` is set. */
export class FakeImage implements BlockBackend {
  readonly bytes: Uint8Array;
  readonly: boolean;
  broken = false;
  flushes = 0;

  constructor(size: number, options: { readonly?: boolean } = {}) {
    this.bytes = new Uint8Array(size);
    this.readonly = options.readonly ?? false;
  }

  get size(): number {
    return this.bytes.length;
  }

  private check(offset: number, length: number): void {
    if (this.broken) throw new VmxonError("io", "the host's disk is broken");
    if (offset < 0 || offset + length > this.size) throw new VmxonError("internal", "access outside the image");
  }

  async read(offset: number, target: Uint8Array): Promise<void> {
    this.check(offset, target.length);
    target.set(this.bytes.subarray(offset, offset + target.length));
  }

  async write(offset: number, source: Uint8Array): Promise<void> {
    this.check(offset, source.length);
    this.bytes.set(source, offset);
  }

  async flush(): Promise<void> {
    this.check(0, 0);
    this.flushes++;
  }

  async discard(offset: number, length: number): Promise<void> {
    this.check(offset, length);
  }

  async close(): Promise<void> {}
}

/** Fill every sector with bytes that tell its number and place apart. */
export function stampSectors(bytes: Uint8Array): void {
  for (let i = 0; i < bytes.length; i++) bytes[i] = ((i >> 9) * 7 + (i & 0x1ff)) & 0xff;
}

/** Formats by size in KB. */
const FLOPPY_FORMATS: Readonly<Record<number, readonly [number, number, number, FloppyMedium["driveType"]]>> = {
  160: [40, 1, 8, 1],
  180: [40, 1, 9, 1],
  320: [40, 2, 8, 1],
  360: [40, 2, 9, 1],
  720: [80, 2, 9, 3],
  1200: [80, 2, 15, 2],
  1440: [80, 2, 18, 4],
  2880: [80, 2, 36, 5],
};

/** Sizes in KB that `fakeFloppy` knows. */
export const FLOPPY_SIZES = Object.keys(FLOPPY_FORMATS).map(Number);

/** A stamped floppy image in a drive. */
export function fakeFloppy(
  kilobytes: number,
  options: { writeProtected?: boolean } = {},
): FloppyDrive & { medium: FloppyMedium & { backend: FakeImage } } {
  const [cylinders, heads, sectors, driveType] = FLOPPY_FORMATS[kilobytes]!;
  const backend = new FakeImage(kilobytes * 1024);
  stampSectors(backend.bytes);
  const geometry: Geometry = { cylinders, heads, sectors };
  return {
    medium: { backend, geometry, driveType, writeProtected: options.writeProtected ?? false },
    changed: false,
  };
}

/** A stamped disk of `cylinders` × 16 × 63 sectors. */
export function fakeDisk(cylinders = 4, options: { readonly?: boolean } = {}): Disk & { backend: FakeImage } {
  const geometry = { cylinders, heads: 16, sectors: 63 };
  const backend = new FakeImage(cylinders * 16 * 63 * 512, options);
  stampSectors(backend.bytes);
  return { kind: "disk", backend, geometry, serial: "VX0001", model: "VMXON TEST DISK" };
}

/** A CD drive, with a stamped disc of `sectors` sectors in it or empty. */
export function fakeCdrom(sectors = 0): CdDrive & { medium: (CdMedium & { backend: FakeImage }) | undefined } {
  return {
    kind: "cdrom",
    serial: "VX0003",
    model: "VMXON CD-ROM",
    medium: sectors > 0 ? fakeDisc(sectors) : undefined,
    trayOpen: false,
  };
}

/** A stamped disc of data. */
export function fakeDisc(sectors: number): CdMedium & { backend: FakeImage } {
  const backend = new FakeImage(sectors * 2048, { readonly: true });
  stampSectors(backend.bytes);
  return { backend };
}

/** A port bus with the rules of the real one: width splitting, all ones where nothing stands, no overlaps. */
export class FakeBus implements IoBus {
  readonly ranges: PortRange[] = [];
  readonly mmio: MmioRange[] = [];

  claimPorts(range: PortRange): void {
    for (const other of this.ranges) {
      if (range.base < other.base + other.count && other.base < range.base + range.count) {
        throw new VmxonError(
          "config",
          `ports of ${range.name} and ${other.name} overlap at ${range.base.toString(16)}h`,
        );
      }
    }
    this.ranges.push(range);
  }

  claimMmio(range: MmioRange): void {
    this.mmio.push(range);
  }

  /** Claims that move, where they stand now, in their order. */
  readonly movable: { readonly order: number; range: PortRange | undefined }[] = [];
  readonly movableMemory: { readonly order: number; range: MmioRange | undefined }[] = [];

  movablePorts(claim: Omit<PortRange, "base">, order: number): Placement {
    return movableIn(this.movable, claim, order);
  }

  movableMmio(claim: Omit<MmioRange, "base">, order: number): Placement {
    return movableIn(this.movableMemory, claim, order);
  }

  private find(port: number): PortRange | undefined {
    const ranges = [...this.ranges, ...this.movable.flatMap(({ range }) => range ?? [])];
    return ranges.find(({ base, count }) => port >= base && port < base + count);
  }

  private findMemory(gpa: number): MmioRange | undefined {
    const ranges = [...this.mmio, ...this.movableMemory.flatMap(({ range }) => range ?? [])];
    return ranges.find(({ base, size }) => gpa >= base && gpa < base + size);
  }

  /** Read from a device's memory; all ones where there is none. */
  load(gpa: number, size: AccessSize = 4): number {
    const range = this.findMemory(gpa);
    return range ? range.device.read(gpa - range.base, size) : 2 ** (8 * size) - 1;
  }

  store(gpa: number, value: number, size: AccessSize = 4): void {
    const range = this.findMemory(gpa);
    range?.device.write(gpa - range.base, size, value);
  }

  in(port: number, size: AccessSize = 1): number {
    const range = this.find(port);
    if (range !== undefined && size <= (range.width ?? 4)) return range.device.read(port - range.base, size);
    if (size === 1) return 0xff;
    let value = 0;
    for (let i = 0; i < size; i++) value += this.in(port + i, 1) * 2 ** (8 * i);
    return value;
  }

  out(port: number, size: AccessSize, value: number): void {
    const range = this.find(port);
    if (range !== undefined && size <= (range.width ?? 4)) range.device.write(port - range.base, size, value);
    else if (size > 1) for (let i = 0; i < size; i++) this.out(port + i, 1, (value >>> (8 * i)) & 0xff);
  }

  /** Write a byte. */
  outb(port: number, value: number): void {
    this.out(port, 1, value);
  }
}

const NOBODY: PortDevice = { read: (_offset, size) => (size === 4 ? 0xffff_ffff : 2 ** (8 * size) - 1), write() {} };

function movableIn<Range extends { readonly base: number }>(
  list: { readonly order: number; range: Range | undefined }[],
  claim: Omit<Range, "base">,
  order: number,
): Placement {
  const entry: { readonly order: number; range: Range | undefined } = { order, range: undefined };
  list.push(entry);
  list.sort((a, b) => a.order - b.order);
  return {
    move: (base) => {
      entry.range = base === undefined ? undefined : ({ ...claim, base } as Range);
    },
  };
}

/** A board without ROM to shadow. */
export const NO_SHADOW: ShadowControl = { shadow() {}, openSmram() {} };

/** A video adapter that is not there. */
export const NO_VIDEO: PcVideo = {
  ports: NOBODY,
  memory: NOBODY,
  dispiPorts: NOBODY,
  frameBuffer: NOBODY,
  frameMemory: videoMemory(4096),
  registers: NOBODY,
  registersSize: 4096,
  reset() {},
};

/** Display memory of so many bytes, that a guest reaches through the device only. */
export function videoMemory(bytes: number): DeviceMemory {
  return { bytes: new Uint8Array(bytes), takeWritten: () => false, wrote() {} };
}
