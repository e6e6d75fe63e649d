/** The port and MMIO buses of a domain: who answers where, and how wide accesses are split. */
import { VmxonError } from "../common/errors.ts";
import type { AccessSize, IoBus, MmioRange, PortDevice, PortRange } from "./device.ts";

const OPEN_BUS = { 1: 0xff, 2: 0xffff, 4: 0xffffffff } as const;
const PAGE_SHIFT = 12;

export class DomainIoBus implements IoBus {
  /** Claim of each port. */
  readonly #ports: (PortRange | undefined)[] = new Array(0x10000).fill(undefined);
  /** Claims by page frame. */
  readonly #pages = new Map<number, MmioRange>();

  claimPorts(range: PortRange): void {
    for (let port = range.base; port < range.base + range.count; port++) {
      const other = this.#ports[port];
      if (port > 0xffff || other) {
        throw new VmxonError(
          "config",
          `port ${port.toString(16)}h of ${range.name} is taken by ${other?.name ?? "nobody: it does not exist"}`,
        );
      }
    }
    for (let port = range.base; port < range.base + range.count; port++) this.#ports[port] = range;
  }

  claimMmio(range: MmioRange): void {
    const first = range.base >>> PAGE_SHIFT;
    const count = range.size >>> PAGE_SHIFT;
    for (let page = first; page < first + count; page++) {
      const other = this.#pages.get(page);
      if (other)
        throw new VmxonError(
          "config",
          `memory at ${(page << PAGE_SHIFT).toString(16)}h of ${range.name} is taken by ${other.name}`,
        );
    }
    for (let page = first; page < first + count; page++) this.#pages.set(page, range);
  }

  /** The device that has claimed a port, if any. */
  deviceAt(port: number): PortDevice | undefined {
    return this.#ports[port]?.device;
  }

  /** Claims on guest-physical memory. */
  mmioRanges(): ReadonlySet<MmioRange> {
    return new Set(this.#pages.values());
  }

  in(port: number, size: AccessSize): number {
    const range = this.#ports[port];
    if (range && port + size <= range.base + range.count && size <= (range.width ?? 4)) {
      return range.device.read(port - range.base, size) >>> 0;
    }
    if (size === 1) return OPEN_BUS[1];
    if (!range && !this.#ports[port + 1]) return OPEN_BUS[size];
    const half = size === 4 ? 2 : 1;
    return (this.in(port, half) | (this.in((port + half) & 0xffff, half) << (half * 8))) >>> 0;
  }

  out(port: number, size: AccessSize, value: number): void {
    const range = this.#ports[port];
    if (range && port + size <= range.base + range.count && size <= (range.width ?? 4)) {
      range.device.write(port - range.base, size, value >>> 0);
      return;
    }
    if (size === 1) return;
    const half = size === 4 ? 2 : 1;
    this.out(port, half, value & OPEN_BUS[half]);
    this.out((port + half) & 0xffff, half, (value >>> (half * 8)) & OPEN_BUS[half]);
  }

  /** The device whose port takes `size`-byte string transfers in one call, with the offset of the port in it. */
  stringPort(port: number, size: AccessSize): { device: PortDevice; offset: number } | undefined {
    const range = this.#ports[port];
    return range && size <= (range.width ?? 4) ? { device: range.device, offset: port - range.base } : undefined;
  }

  /** True when a device has claimed the page of a guest-physical address. */
  mmioAt(gpa: number): boolean {
    return this.#pages.has(Math.floor(gpa / 4096));
  }

  mmioRead(gpa: number, size: AccessSize): number {
    const range = this.#pages.get(Math.floor(gpa / 4096));
    return range ? range.device.read(gpa - range.base, size) >>> 0 : OPEN_BUS[size];
  }

  mmioWrite(gpa: number, size: AccessSize, value: number): void {
    const range = this.#pages.get(Math.floor(gpa / 4096));
    range?.device.write(gpa - range.base, size, value >>> 0);
  }
}
