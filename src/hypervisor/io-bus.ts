/** The port and MMIO buses of a domain: who answers where, and how wide accesses are split. */
import { VmxonError } from "../common/errors.ts";
import type { AccessSize, IoBus, MmioRange, Placement, PortDevice, PortRange } from "./device.ts";

const OPEN_BUS = { 1: 0xff, 2: 0xffff, 4: 0xffffffff } as const;
const PAGE = 4096;
const PORTS = 0x10000;
const ADDRESS_SPACE = 2 ** 32;
/** Place of fixed claims in the order in which claims are seen. */
const FIXED = -1;

/** A claim that moves, and where it stands. */
interface Movable<Range> {
  readonly order: number;
  range: Range | undefined;
}

export class DomainIoBus implements IoBus {
  /** Claim that answers at each port. */
  readonly #ports: (PortRange | undefined)[] = new Array(PORTS).fill(undefined);
  /** Fixed claims by port, and movable ones in their order. */
  readonly #fixedPorts: (PortRange | undefined)[] = new Array(PORTS).fill(undefined);
  readonly #movablePorts: Movable<PortRange>[] = [];
  /** Claims that touch a page, by page frame, each list in the order in which they are seen. */
  readonly #pages = new Map<number, MmioRange[]>();
  readonly #orders = new Map<MmioRange, number>();
  /** Called when other claims than before answer at some ports. */
  onPortsChanged: (base: number, count: number) => void = () => {};
  /** Called when other claims than before stand at some page frames. */
  onPagesChanged: (first: number, count: number) => void = () => {};

  claimPorts(range: PortRange): void {
    for (let port = range.base; port < range.base + range.count; port++) {
      const other = this.#fixedPorts[port];
      if (port >= PORTS || other) {
        throw new VmxonError(
          "config",
          `port ${port.toString(16)}h of ${range.name} is taken by ${other?.name ?? "nobody: it does not exist"}`,
        );
      }
    }
    this.#fixedPorts.fill(range, range.base, range.base + range.count);
    this.#settlePorts(range.base, range.count);
  }

  movablePorts(claim: Omit<PortRange, "base">, order: number): Placement {
    const movable: Movable<PortRange> = { order, range: undefined };
    insert(this.#movablePorts, movable, (m) => m.order);
    return {
      move: (base) => {
        const old = movable.range;
        if (base === old?.base) return;
        movable.range =
          base === undefined || base >= PORTS
            ? undefined
            : { ...claim, base, count: Math.min(claim.count, PORTS - base) };
        for (const range of [old, movable.range]) if (range) this.#settlePorts(range.base, range.count);
      },
    };
  }

  #settlePorts(base: number, count: number): void {
    for (let port = base; port < base + count; port++)
      this.#ports[port] = this.#fixedPorts[port] ?? this.#movablePorts.find(({ range }) => holds(range, port))?.range;
    this.onPortsChanged(base, count);
  }

  claimMmio(range: MmioRange): void {
    for (const list of this.#listsAt(range)) {
      for (const other of list) {
        if (
          this.#orders.get(other) === FIXED &&
          other.base < range.base + range.size &&
          range.base < other.base + other.size
        )
          throw new VmxonError(
            "config",
            `memory at ${Math.max(range.base, other.base).toString(16)}h of ${range.name} is taken by ${other.name}`,
          );
      }
    }
    this.#place(range, FIXED);
  }

  movableMmio(claim: Omit<MmioRange, "base">, order: number): Placement {
    let range: MmioRange | undefined;
    return {
      move: (base) => {
        if (base === range?.base) return;
        if (range) this.#remove(range);
        range =
          base === undefined || base >= ADDRESS_SPACE
            ? undefined
            : { ...claim, base, size: Math.min(claim.size, ADDRESS_SPACE - base) };
        if (range) this.#place(range, order);
      },
    };
  }

  *#listsAt(range: MmioRange): Generator<MmioRange[]> {
    for (const frame of frames(range)) yield this.#pages.get(frame) ?? [];
  }

  #place(range: MmioRange, order: number): void {
    this.#orders.set(range, order);
    for (const frame of frames(range)) {
      const list = this.#pages.get(frame) ?? [];
      insert(list, range, (r) => this.#orders.get(r)!);
      this.#pages.set(frame, list);
    }
    this.#notePages(range);
  }

  #remove(range: MmioRange): void {
    this.#orders.delete(range);
    for (const frame of frames(range)) {
      const list = this.#pages.get(frame)!.filter((other) => other !== range);
      if (list.length > 0) this.#pages.set(frame, list);
      else this.#pages.delete(frame);
    }
    this.#notePages(range);
  }

  #notePages(range: MmioRange): void {
    const first = Math.floor(range.base / PAGE);
    this.onPagesChanged(first, Math.ceil((range.base + range.size) / PAGE) - first);
  }

  /** Whether the device at a port is asked through the processor's registers. */
  usesRegisters(port: number): boolean {
    return this.#ports[port]?.usesRegisters === true;
  }

  /** The device that answers at a port, if any. */
  deviceAt(port: number): PortDevice | undefined {
    return this.#ports[port]?.device;
  }

  /** Claims on guest-physical memory, as they stand. */
  mmioRanges(): Iterable<MmioRange> {
    return this.#orders.keys();
  }

  /** The claim that is seen first in a page, whether or not it is all that is seen there. */
  mmioAt(frame: number): MmioRange | undefined {
    return this.#pages.get(frame)?.[0];
  }

  /** Place of a claim among those that cover the same memory. */
  order(range: MmioRange): number {
    return this.#orders.get(range) ?? FIXED;
  }

  in(port: number, size: AccessSize): number {
    const range = this.#ports[port];
    if (range && this.#reaches(range, port, size)) return range.device.read(port - range.base, size) >>> 0;
    if (size === 1) return OPEN_BUS[1];
    if (!range && !this.#ports[port + 1]) return OPEN_BUS[size];
    const half = size === 4 ? 2 : 1;
    return (this.in(port, half) | (this.in((port + half) & 0xffff, half) << (half * 8))) >>> 0;
  }

  out(port: number, size: AccessSize, value: number): void {
    const range = this.#ports[port];
    if (range && this.#reaches(range, port, size)) {
      range.device.write(port - range.base, size, value >>> 0);
      return;
    }
    if (size === 1) return;
    const half = size === 4 ? 2 : 1;
    this.out(port, half, value & OPEN_BUS[half]);
    this.out((port + half) & 0xffff, half, (value >>> (half * 8)) & OPEN_BUS[half]);
  }

  /** Whether an access is one for the claim at its first port: it takes it in one piece, and all of it. */
  #reaches(range: PortRange, port: number, size: AccessSize): boolean {
    return port + size <= range.base + range.count && size <= (range.width ?? 4);
  }

  /** The device whose port takes `size`-byte string transfers in one call, with the offset of the port in it. */
  stringPort(port: number, size: AccessSize): { device: PortDevice; offset: number } | undefined {
    const range = this.#ports[port];
    return range && size <= (range.width ?? 4) ? { device: range.device, offset: port - range.base } : undefined;
  }

  /** The claim that answers at an address. */
  #mmio(gpa: number): MmioRange | undefined {
    const list = this.#pages.get(Math.floor(gpa / PAGE));
    if (list === undefined) return undefined;
    for (let i = 0; i < list.length; i++) {
      const range = list[i]!;
      if (gpa >= range.base && gpa < range.base + range.size) return range;
    }
    return undefined;
  }

  mmioRead(gpa: number, size: AccessSize): number {
    const range = this.#mmio(gpa);
    return range ? range.device.read(gpa - range.base, size) >>> 0 : OPEN_BUS[size];
  }

  mmioWrite(gpa: number, size: AccessSize, value: number): void {
    const range = this.#mmio(gpa);
    range?.device.write(gpa - range.base, size, value >>> 0);
  }

  /** Whether an access must wait until it is alone: see {@link MmioDevice.immediate}. */
  mmioWaits(gpa: number, size: AccessSize, write: boolean, value: number): boolean {
    const range = this.#mmio(gpa);
    return range !== undefined && !range.device.immediate?.(gpa - range.base, size, write, value);
  }
}

/** Put `item` in a list that is ordered by `order`, behind its equals. */
function insert<T>(list: T[], item: T, order: (item: T) => number): void {
  const at = list.findIndex((other) => order(other) > order(item));
  list.splice(at < 0 ? list.length : at, 0, item);
}

function holds(range: PortRange | undefined, port: number): boolean {
  return range !== undefined && port >= range.base && port < range.base + range.count;
}

/** Page frames that a range touches. */
function* frames({ base, size }: MmioRange): Generator<number> {
  for (let frame = Math.floor(base / PAGE); frame * PAGE < base + size; frame++) yield frame;
}
