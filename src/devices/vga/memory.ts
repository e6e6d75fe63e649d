/**
 * The VGA's 256 KB of display memory behind the graphics controller and sequencer: what an access at A0000h–BFFFFh does.
 * The four planes are interleaved, plane p of offset n at byte 4n + p, so that the latches are one 32-bit load.
 */
import type { AccessSize, DirectMemory, MmioDevice } from "../../hypervisor/device.ts";
import { chainedCell, type DirectLayout, DirectView, sameLayout } from "./direct.ts";
import { GC, GC_MISC, GC_MODE, MEMORY_MODE, MISC, ROTATE, SEQ, VIDEO_MEMORY_SIZE } from "./registers.ts";

/** Where each memory map select (graphics controller 06h bits 3–2) opens the window: offset from A0000h and size. */
const WINDOWS = [
  { base: 0x00000, size: 0x20000 },
  { base: 0x00000, size: 0x10000 },
  { base: 0x10000, size: 0x08000 },
  { base: 0x18000, size: 0x08000 },
] as const;

/** Plane mask 0–15 as 32 bits: FFh in the byte of each plane named. */
const PLANES = Int32Array.from({ length: 16 }, (_, mask) => {
  let value = 0;
  for (let plane = 0; plane < 4; plane++) if (mask & (1 << plane)) value |= 0xff << (plane * 8);
  return value;
});

const ALL_PLANES = 0x0f;
const TEXT_PLANES = 0x03;
/** What chain 4 can address. */
const CHAINED_SIZE = 0x10000;
const REPLICATE = 0x01010101;

/** How a write goes: the two common cases have a short way of their own, everything else is done plane by plane. */
const WRITE_PATH = { GENERAL: 0, CHAIN_4: 1, TEXT: 2 } as const;

/** Display memory as a memory device; offset 0 is A0000h. */
export class VideoMemory implements MmioDevice {
  /** Byte 4n + p is plane p at offset n. */
  readonly bytes = new Uint8Array(VIDEO_MEMORY_SIZE);
  /** The same memory, character and attribute of a text cell together: element 2n holds planes 0 and 1 of offset n. */
  readonly words = new Uint16Array(this.bytes.buffer);
  /** The same memory, four planes at once. */
  readonly cells = new Int32Array(this.bytes.buffer);
  /** The four latches, plane p in bits 8p+7…8p. */
  latch = 0;
  readonly #direct = new DirectView(this.bytes);
  /** Layout in which the memory can be opened as the registers are. */
  #layout: DirectLayout | undefined;
  /** Writes that reached the device. */
  #writes = 0;

  #windowBase = 0;
  #windowSize = 0;
  #writePath: number = WRITE_PATH.GENERAL;
  #chain4 = false;
  #oddEvenWrite = false;
  #oddEvenRead = false;
  /** True when A0 does not reach the planes (odd/even chain): `#evenBit` or A16 takes its place. */
  #replaceA0 = false;
  #a0FromA16 = false;
  #evenBit = 0;
  #mapMask = 0;
  #readPlane = 0;
  #readMode1 = false;
  #compare = 0;
  #care = 0;
  #writeMode = 0;
  #rotate = 0;
  #function = 0;
  #setReset = 0;
  #enableSetReset = 0;
  #bitMask = 0;

  /** Grows with every change, and with writes that change nothing. */
  get changes(): number {
    this.#direct.pull();
    return this.#writes + this.#direct.changes;
  }

  /** The same for the guest, which must not see who else looked and when. */
  get guestChanges(): number {
    this.#direct.look();
    return this.#writes + this.#direct.guestChanges;
  }

  /** Nothing here goes by time. */
  immediate(): boolean {
    return true;
  }

  useDirect(memory: DirectMemory): void {
    this.#direct.use(memory);
  }

  /** Bring {@link bytes} up to date with what the guest wrote directly. */
  sync(): void {
    this.#direct.pull();
  }

  /** What is in memory is about to be replaced by power-on, or by a saved state. */
  reset(): void {
    this.#direct.reset();
  }

  /** Take over the registers that decide about accesses. Called whenever one of them was written. */
  configure(sequencer: Uint8Array, graphics: Uint8Array, misc: number, enabled: boolean): void {
    const gcMode = graphics[GC.MODE]!;
    const gcMisc = graphics[GC.MISCELLANEOUS]!;
    const memoryMode = sequencer[SEQ.MEMORY_MODE]!;
    const map = (gcMisc >> GC_MISC.MAP_SHIFT) & GC_MISC.MAP_MASK;
    const window = WINDOWS[map]!;
    this.#windowBase = window.base;
    this.#windowSize = enabled && misc & MISC.ENABLE_RAM ? window.size : 0;
    this.#chain4 = (memoryMode & MEMORY_MODE.CHAIN_4) !== 0;
    this.#oddEvenWrite = (memoryMode & MEMORY_MODE.SEQUENTIAL) === 0;
    this.#oddEvenRead = (gcMode & GC_MODE.ODD_EVEN) !== 0;
    this.#replaceA0 = (gcMisc & GC_MISC.CHAIN_ODD_EVEN) !== 0;
    this.#a0FromA16 = map === 0;
    // Every standard mode programs page bit 1 and displays even offsets, so 1 selects those.
    this.#evenBit = misc & MISC.ODD_EVEN_PAGE ? 0 : 1;
    this.#mapMask = sequencer[SEQ.MAP_MASK]! & ALL_PLANES;
    this.#readPlane = graphics[GC.READ_MAP_SELECT]! & 3;
    this.#readMode1 = (gcMode & GC_MODE.READ_MODE_1) !== 0;
    this.#compare = PLANES[graphics[GC.COLOR_COMPARE]! & ALL_PLANES]!;
    this.#care = PLANES[graphics[GC.COLOR_DONT_CARE]! & ALL_PLANES]!;
    this.#writeMode = gcMode & GC_MODE.WRITE_MASK;
    this.#rotate = graphics[GC.DATA_ROTATE]! & ROTATE.COUNT_MASK;
    this.#function = (graphics[GC.DATA_ROTATE]! >> ROTATE.FUNCTION_SHIFT) & ROTATE.FUNCTION_MASK;
    this.#setReset = PLANES[graphics[GC.SET_RESET]! & ALL_PLANES]!;
    this.#enableSetReset = PLANES[graphics[GC.ENABLE_SET_RESET]! & ALL_PLANES]!;
    this.#bitMask = Math.imul(graphics[GC.BIT_MASK]!, REPLICATE);
    const plain =
      this.#writeMode === 0 &&
      this.#rotate === 0 &&
      this.#function === 0 &&
      this.#enableSetReset === 0 &&
      this.#bitMask === -1;
    if (plain && this.#chain4 && this.#mapMask === ALL_PLANES) this.#writePath = WRITE_PATH.CHAIN_4;
    else if (
      plain &&
      !this.#chain4 &&
      this.#oddEvenWrite &&
      this.#replaceA0 &&
      !this.#a0FromA16 &&
      this.#mapMask === TEXT_PLANES
    )
      this.#writePath = WRITE_PATH.TEXT;
    else this.#writePath = WRITE_PATH.GENERAL;
    this.#layout = this.#directLayout();
    if (!sameLayout(this.#direct.layout, this.#layout)) this.#direct.close();
  }

  /**
   * The layout in which writes and reads both are plain. The latches, which reads load, are left out: nothing that has
   * such a layout uses them, and who programs something else loads them anew.
   */
  #directLayout(): DirectLayout | undefined {
    if (this.#readMode1 || this.#windowSize === 0) return undefined;
    const offset = this.#windowBase;
    const size = this.#windowSize;
    // A window of 128 KB shows everything twice.
    if (this.#writePath === WRITE_PATH.CHAIN_4)
      return size > CHAINED_SIZE ? undefined : { kind: "chain4", offset, size };
    if (this.#writePath !== WRITE_PATH.TEXT || !this.#oddEvenRead || this.#readPlane & 2) return undefined;
    return { kind: "text", offset, size, evenBit: this.#evenBit };
  }

  read(offset: number, size: AccessSize): number {
    const address = offset - this.#windowBase;
    if (this.#chain4 && !this.#readMode1 && address >= 0 && address + size <= this.#windowSize) {
      if (size === 1) {
        const cell = chainedCell(address);
        this.latch = this.cells[cell]!;
        return this.bytes[(cell << 2) | (address & 3)]!;
      }
      if (size === 4 && (address & 3) === 0) return (this.latch = this.cells[chainedCell(address)]!) >>> 0;
    }
    let value = 0;
    for (let i = 0; i < size; i++) value |= this.#readByte(address + i) << (i * 8);
    return value >>> 0;
  }

  write(offset: number, size: AccessSize, value: number): void {
    this.#writes++;
    const address = offset - this.#windowBase;
    this.#store(address, size, value);
    if (this.#layout && address >= 0 && address < this.#windowSize) this.#direct.written(this.#layout);
  }

  #store(address: number, size: AccessSize, value: number): void {
    if (address >= 0 && address + size <= this.#windowSize) {
      if (this.#writePath === WRITE_PATH.TEXT) {
        if (size === 1) {
          this.bytes[(((address & 0xfffe) | this.#evenBit) << 2) | (address & 1)] = value;
          return;
        }
        if ((address & 1) === 0) {
          this.words[((address & 0xfffe) | this.#evenBit) << 1] = value;
          if (size === 4) this.words[(((address + 2) & 0xfffe) | this.#evenBit) << 1] = value >>> 16;
          return;
        }
      } else if (this.#writePath === WRITE_PATH.CHAIN_4) {
        if (size === 1) {
          this.bytes[(chainedCell(address) << 2) | (address & 3)] = value;
          return;
        }
        if (size === 4 && (address & 3) === 0) {
          this.cells[chainedCell(address)] = value;
          return;
        }
        if (size === 2 && (address & 1) === 0) {
          this.words[(chainedCell(address) << 1) | ((address >> 1) & 1)] = value;
          return;
        }
      }
    }
    for (let i = 0; i < size; i++) this.#writeByte(address + i, (value >>> (i * 8)) & 0xff);
  }

  #planeOffset(address: number): number {
    if (this.#chain4) return chainedCell(address);
    if (!this.#replaceA0) return address & 0xffff;
    return (address & 0xfffe) | (this.#a0FromA16 ? (address >> 16) & 1 : this.#evenBit);
  }

  #readByte(address: number): number {
    if (address < 0 || address >= this.#windowSize) return 0xff;
    const latch = this.cells[this.#planeOffset(address)]!;
    this.latch = latch;
    if (this.#readMode1) {
      const difference = (latch ^ this.#compare) & this.#care;
      const any = difference | (difference >>> 8) | (difference >>> 16) | (difference >>> 24);
      return ~any & 0xff;
    }
    let plane = this.#readPlane;
    if (this.#chain4) plane = address & 3;
    else if (this.#oddEvenRead) plane = (plane & 2) | (address & 1);
    return (latch >>> (plane * 8)) & 0xff;
  }

  #writeByte(address: number, value: number): void {
    if (address < 0 || address >= this.#windowSize) return;
    const cell = this.#planeOffset(address);
    let planes = this.#mapMask;
    if (this.#chain4) planes &= 1 << (address & 3);
    else if (this.#oddEvenWrite) planes &= address & 1 ? 0x0a : 0x05;
    const latch = this.latch;
    let mask = this.#bitMask;
    let data: number;
    switch (this.#writeMode) {
      case 0:
        data = Math.imul(rotateRight(value, this.#rotate), REPLICATE);
        data = (data & ~this.#enableSetReset) | (this.#setReset & this.#enableSetReset);
        break;
      case 1:
        data = latch;
        mask = -1;
        break;
      case 2:
        data = PLANES[value & ALL_PLANES]!;
        break;
      default:
        mask &= Math.imul(rotateRight(value, this.#rotate), REPLICATE);
        data = this.#setReset;
        break;
    }
    if (this.#writeMode !== 1) {
      if (this.#function === 1) data &= latch;
      else if (this.#function === 2) data |= latch;
      else if (this.#function === 3) data ^= latch;
    }
    data = (data & mask) | (latch & ~mask);
    const select = PLANES[planes]!;
    this.cells[cell] = (this.cells[cell]! & ~select) | (data & select);
  }
}

function rotateRight(value: number, count: number): number {
  return ((value >>> count) | (value << (8 - count))) & 0xff;
}
