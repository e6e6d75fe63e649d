/**
 * Display memory behind the graphics controller and sequencer: what an access at A0000h–BFFFFh does. The four planes of
 * the VGA are interleaved in its first 256 KB, plane p of offset n at byte 4n + p, so that the latches are one 32-bit
 * load. In the modes of the display interface the window leads to a bank of the same memory.
 */
import type { AccessSize, DeviceMemory, DirectMemory, MmioDevice } from "../../hypervisor/device.ts";
import { ChangeMap, granuleOf } from "./change-map.ts";
import { chainedCell, type DirectLayout, DirectView, type DirectViewState, sameLayout } from "./direct.ts";
import { GC, GC_MISC, GC_MODE, MEMORY_MODE, MISC, ROTATE, SEQ } from "./registers.ts";

/** Where each memory map select (graphics controller 06h bits 3–2) opens the window: offset from A0000h and size. */
const WINDOWS = [
  { base: 0x00000, size: 0x20000 },
  { base: 0x00000, size: 0x10000 },
  { base: 0x10000, size: 0x08000 },
  { base: 0x18000, size: 0x08000 },
] as const;

/** The one of the display interface's modes. */
const BANKED_WINDOW = 1;

/** Plane mask 0–15 as 32 bits: FFh in the byte of each plane named. */
const PLANES = Int32Array.from({ length: 16 }, (_, mask) => {
  let value = 0;
  for (let plane = 0; plane < 4; plane++) if (mask & (1 << plane)) value |= 0xff << (plane * 8);
  return value;
});

const ALL_PLANES = 0x0f;
const TEXT_PLANES = 0x03;
const FONT_PLANE = 0x04;
/** What chain 4 can address. */
const CHAINED_SIZE = 0x10000;
const REPLICATE = 0x01010101;

/** How a write goes: the common cases have a short way of their own, everything else is done plane by plane. */
const WRITE_PATH = { GENERAL: 0, CHAIN_4: 1, TEXT: 2, BANKED: 3 } as const;
/** Bytes of a bank of the display interface, and cells of one in its planar modes. */
const BANK_SHIFT = 16;
const PAGE = 4096;
const PAGE_CELLS = PAGE / 4;
/** Plane offsets that a VGA can address. */
const VGA_OFFSETS = 0xffff;

/** Window of a mode of the display interface. */
export interface BankedWindow {
  /** Number of the 64 KB bank at A0000h. */
  readonly bank: number;
  /** Whether the graphics controller stands between, as in modes of four bits a pixel. */
  readonly planar: boolean;
}

/** How often display memory was changed, as the guest can find out through the firmware. */
export interface VideoActivity {
  writes: number;
  pageChanges: number;
  /** Pages were written since the guest last looked. */
  unseen: boolean;
  direct: DirectViewState;
}

/** Display memory as a memory device; offset 0 is A0000h. */
export class VideoMemory implements MmioDevice {
  /** Byte 4n + p is plane p at offset n. */
  readonly bytes: Uint8Array;
  /** The same memory, character and attribute of a text cell together: element 2n holds planes 0 and 1 of offset n. */
  readonly words: Uint16Array;
  /** The same memory, four planes at once. */
  readonly cells: Int32Array;
  /** What changed when. Behind {@link sync} it knows all. */
  readonly map: ChangeMap;
  /** All of the memory, byte by byte: the linear frame buffer. */
  readonly linear: MmioDevice = {
    read: (offset, size) => this.#readLinear(offset, size),
    write: (offset, size, value) => {
      this.#writes++;
      this.#writeLinear(offset, size, value);
    },
    immediate: () => true,
  };
  /** Moment of the last write to plane 2, where fonts are, other than through the short ways. */
  fontChange = 0;
  /** The four latches, plane p in bits 8p+7…8p. */
  latch = 0;
  readonly #direct: DirectView;
  readonly #stamps: Uint32Array;
  readonly #memory: DeviceMemory;
  /** Room for what {@link DeviceMemory.takeWritten} tells, by page. */
  readonly #written: Uint8Array;
  /** How often pages were found written by the guest, and of those, how often the guest has looked. */
  #pageChanges = 0;
  #guestPageChanges = 0;
  #guestSaw = 0;
  /** Layout in which the memory can be opened as the registers are. */
  #layout: DirectLayout | undefined;
  /** Writes that reached the device. */
  #writes = 0;

  #windowBase = 0;
  #windowSize = 0;
  /** Added to plane offsets, or to byte addresses in {@link WRITE_PATH}.BANKED, by the bank. */
  #bankOffset = 0;
  /** Plane offsets that can be reached. */
  #offsetMask = VGA_OFFSETS;
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

  /** `memory`: a power of two, at least the VGA's 256 KB. */
  constructor(memory: DeviceMemory) {
    const { buffer, byteOffset, length } = memory.bytes;
    this.#memory = memory;
    this.bytes = memory.bytes;
    this.#written = new Uint8Array(length / PAGE);
    this.words = new Uint16Array(buffer, byteOffset, length >> 1);
    this.cells = new Int32Array(buffer, byteOffset, length >> 2);
    this.map = new ChangeMap(this.cells.length);
    this.#stamps = this.map.stamps;
    this.#direct = new DirectView(memory, this.words, this.cells, this.map);
  }

  /** Grows with every change, and with writes that change nothing. */
  get changes(): number {
    this.sync();
    return this.#writes + this.#direct.changes + this.#pageChanges;
  }

  /** The same for the guest, which must not see who else looked and when. */
  get guestChanges(): number {
    this.#direct.look();
    this.#takeWritten();
    // Counted by the guest's looks: how often somebody else came between does not show.
    if (this.#guestSaw !== this.#pageChanges) this.#guestPageChanges++;
    this.#guestSaw = this.#pageChanges;
    return this.#writes + this.#direct.guestChanges + this.#guestPageChanges;
  }

  /** Nothing here goes by time. */
  immediate(): boolean {
    return true;
  }

  useDirect(memory: DirectMemory): void {
    this.#direct.use(memory);
  }

  /** Bring {@link bytes} and {@link map} up to date with what the guest wrote directly. */
  sync(): void {
    this.#direct.pull();
    this.#takeWritten();
  }

  #takeWritten(): void {
    const written = this.#written;
    if (!this.#memory.takeWritten(written, 0, written.length)) return;
    this.#pageChanges++;
    for (let page = written.indexOf(1); page >= 0; page = written.indexOf(1, page + 1)) {
      written[page] = 0;
      this.map.mark(page * PAGE_CELLS, (page + 1) * PAGE_CELLS - 1);
    }
  }

  /** Power-on. */
  reset(): void {
    this.#direct.reset();
    this.#takeWritten();
    const end = this.map.extent;
    this.cells.fill(0, 0, end);
    this.#memory.wrote(0, end << 2);
    this.map.clear();
    this.latch = 0;
  }

  /** A copy of what is not zero at the end. */
  save(): Uint8Array {
    this.sync();
    let end = this.map.extent;
    while (end > 0 && this.cells[end - 1] === 0) end--;
    return this.bytes.slice(0, end << 2);
  }

  /** Behind {@link save}. */
  activity(): VideoActivity {
    return {
      writes: this.#writes,
      pageChanges: this.#guestPageChanges,
      unseen: this.#guestSaw !== this.#pageChanges,
      direct: this.#direct.state(),
    };
  }

  /** Take back what {@link activity} gave, once memory and registers are as they were. */
  resume(activity: VideoActivity): void {
    this.#direct.restore(activity.direct, this.#layout);
    this.#writes = activity.writes;
    this.#guestPageChanges = activity.pageChanges;
    this.#takeWritten();
    this.#guestSaw = activity.unseen ? this.#pageChanges - 1 : this.#pageChanges;
  }

  /** Take back what {@link save} gave. */
  load(saved: Uint8Array): void {
    this.reset();
    const kept = saved.subarray(0, this.bytes.length);
    this.bytes.set(kept);
    this.#memory.wrote(0, kept.length);
    this.map.mark(0, Math.min(saved.length, this.bytes.length) >> 2);
    this.fontChange = this.map.now;
  }

  /** Zero the first `bytes` bytes. */
  clear(bytes: number): void {
    this.#writes++;
    this.cells.fill(0, 0, bytes >> 2);
    if (bytes > 0) this.map.mark(0, (bytes >> 2) - 1);
    this.#memory.wrote(0, bytes);
  }

  /**
   * Take over the registers that decide about accesses, and the window of the display interface while it is enabled.
   * Called whenever one of them was written.
   */
  configure(
    sequencer: Uint8Array,
    graphics: Uint8Array,
    misc: number,
    enabled: boolean,
    banked: BankedWindow | undefined,
  ): void {
    const gcMode = graphics[GC.MODE]!;
    const gcMisc = graphics[GC.MISCELLANEOUS]!;
    const memoryMode = sequencer[SEQ.MEMORY_MODE]!;
    const map = (gcMisc >> GC_MISC.MAP_SHIFT) & GC_MISC.MAP_MASK;
    const window = banked ? WINDOWS[BANKED_WINDOW]! : WINDOWS[map]!;
    this.#bankOffset = banked ? banked.bank << BANK_SHIFT : 0;
    this.#offsetMask = banked ? this.cells.length - 1 : VGA_OFFSETS;
    this.#windowBase = window.base;
    this.#windowSize = enabled && misc & MISC.ENABLE_RAM ? window.size : 0;
    this.#chain4 = !banked && (memoryMode & MEMORY_MODE.CHAIN_4) !== 0;
    this.#oddEvenWrite = !banked && (memoryMode & MEMORY_MODE.SEQUENTIAL) === 0;
    this.#oddEvenRead = !banked && (gcMode & GC_MODE.ODD_EVEN) !== 0;
    this.#replaceA0 = !banked && (gcMisc & GC_MISC.CHAIN_ODD_EVEN) !== 0;
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
    if (banked && !banked.planar) this.#writePath = WRITE_PATH.BANKED;
    else if (plain && this.#chain4 && this.#mapMask === ALL_PLANES) this.#writePath = WRITE_PATH.CHAIN_4;
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
    const offset = this.#windowBase;
    const size = this.#windowSize;
    if (this.#writePath === WRITE_PATH.BANKED)
      return size === 0 ? undefined : { kind: "bytes", offset, size, from: this.#bankOffset };
    if (this.#readMode1 || size === 0) return undefined;
    // A window of 128 KB shows everything twice.
    if (this.#writePath === WRITE_PATH.CHAIN_4)
      return size > CHAINED_SIZE ? undefined : { kind: "chain4", offset, size };
    if (this.#writePath !== WRITE_PATH.TEXT || !this.#oddEvenRead || this.#readPlane & 2) return undefined;
    return { kind: "text", offset, size, evenBit: this.#evenBit };
  }

  read(offset: number, size: AccessSize): number {
    const address = offset - this.#windowBase;
    if (this.#writePath === WRITE_PATH.BANKED && this.#inWindow(address, size))
      return this.#readLinear(this.#bankOffset + address, size);
    if (this.#chain4 && !this.#readMode1 && this.#inWindow(address, size)) {
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
    if (this.#inWindow(address, size)) {
      if (this.#writePath === WRITE_PATH.BANKED) {
        this.#writeLinear(this.#bankOffset + address, size, value);
        return;
      }
      if (this.#writePath === WRITE_PATH.TEXT) {
        const cell = (address & 0xfffe) | this.#evenBit;
        if (size === 1) {
          this.bytes[(cell << 2) | (address & 1)] = value;
          this.#stamps[granuleOf(cell)] = this.map.now;
          return;
        }
        if ((address & 1) === 0) {
          this.words[cell << 1] = value;
          this.#stamps[granuleOf(cell)] = this.map.now;
          if (size === 4) {
            const next = ((address + 2) & 0xfffe) | this.#evenBit;
            this.words[next << 1] = value >>> 16;
            this.#stamps[granuleOf(next)] = this.map.now;
          }
          return;
        }
      } else if (this.#writePath === WRITE_PATH.CHAIN_4) {
        const cell = chainedCell(address);
        if ((address & 3) + size <= 4) {
          this.#stamps[granuleOf(cell)] = this.map.now;
          if (size === 1) this.bytes[(cell << 2) | (address & 3)] = value;
          else if (size === 4) this.cells[cell] = value;
          else {
            this.bytes[(cell << 2) | (address & 3)] = value;
            this.bytes[((cell << 2) | (address & 3)) + 1] = value >>> 8;
          }
          return;
        }
      }
    }
    for (let i = 0; i < size; i++) this.#writeByte(address + i, (value >>> (i * 8)) & 0xff);
  }

  /** `size` bytes of memory, which wraps at its end. */
  #readLinear(offset: number, size: AccessSize): number {
    let value = 0;
    for (let i = 0; i < size; i++) value |= this.bytes[(offset + i) & (this.bytes.length - 1)]! << (i * 8);
    return value >>> 0;
  }

  #writeLinear(offset: number, size: AccessSize, value: number): void {
    for (let i = 0; i < size; i++) {
      const at = (offset + i) & (this.bytes.length - 1);
      this.bytes[at] = value >>> (i * 8);
      this.#stamps[granuleOf(at >> 2)] = this.map.now;
    }
  }

  /** Whether an access lies in the window. */
  #inWindow(address: number, size: number): boolean {
    return address >= 0 && address + size <= this.#windowSize;
  }

  #planeOffset(address: number): number {
    if (this.#chain4) return chainedCell(address);
    if (!this.#replaceA0) return (address + this.#bankOffset) & this.#offsetMask;
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
    this.#stamps[granuleOf(cell)] = this.map.now;
    if (planes & FONT_PLANE) this.fontChange = this.map.now;
  }
}

function rotateRight(value: number, count: number): number {
  return ((value >>> count) | (value << (8 - count))) & 0xff;
}
