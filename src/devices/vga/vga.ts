/**
 * The VGA display adapter as one object: register ports 3B0h–3DFh, display memory A0000h–BFFFFh, the display interface
 * for larger modes with its linear frame buffer, and the picture.
 * Source: IBM PS/2 Hardware Interface Technical Reference, "Video Subsystem" (1988). No interrupt line: no PC wires it.
 */
import type { Display, Frame, FrameFeed, FrameSink, TextScreen } from "../../hypervisor/backend.ts";
import type { Clock } from "../../hypervisor/clock.ts";
import type { AccessSize, DeviceMemory, MmioDevice, PortDevice, Stateful } from "../../hypervisor/device.ts";
import { type Timing, timing } from "./crtc.ts";
import { Dac, type DacState } from "./dac.ts";
import { Dispi, type DispiState } from "./dispi.ts";
import { DispiPorts } from "./dispi-ports.ts";
import { type VideoActivity, VideoMemory } from "./memory.ts";
import { Picture, PictureFeed } from "./picture.ts";
import type { BlinkPhase, DisplayState, Plan } from "./plan.ts";
import {
  ATC,
  ATTRIBUTE_INDEX,
  ATTRIBUTE_MODE,
  ATTRIBUTE_REGISTERS,
  CRTC,
  CRTC_REGISTERS,
  CURSOR,
  GC,
  GRAPHICS_REGISTERS,
  MISC,
  OVERFLOW,
  PORT,
  RETRACE_END,
  SEQ,
  SEQUENCER_REGISTERS,
  STATUS0,
  STATUS1,
} from "./registers.ts";
import { REGISTERS_WINDOW_SIZE, RegistersWindow } from "./registers-window.ts";
import { cursorRectangle, isText, planOf, textScreen } from "./scanout.ts";

/** Bits that exist in each register; the rest reads as zero. */
const SEQUENCER_BITS = [0x03, 0x3d, 0x0f, 0x3f, 0x0e] as const;
const GRAPHICS_BITS = [0x0f, 0x0f, 0x0f, 0x1f, 0x03, 0x7b, 0x0f, 0x0f, 0xff] as const;
const ATTRIBUTE_BITS = [...new Array<number>(16).fill(0x3f), 0xef, 0xff, 0x3f, 0x0f, 0x0f] as const;

/** Nothing drives the bus. */
const OPEN_BUS = 0xff;
/** A guest that reads status 1 at least this often (ns) is waiting for the retrace, and is told of one that it slept through. */
const POLL_INTERVAL = 1_000_000;
/** The cursor changes every 8 frames, characters every 16 (IBM VGA, cursor and attribute control). */
const CURSOR_FRAMES = 8;
const CHARACTER_FRAMES = 16;

/** Plain data of a {@link Vga}. */
export interface VgaState {
  readonly misc: number;
  readonly feature: number;
  readonly videoEnable: number;
  readonly sequencerIndex: number;
  readonly sequencer: Uint8Array;
  readonly crtcIndex: number;
  readonly crtc: Uint8Array;
  readonly graphicsIndex: number;
  readonly graphics: Uint8Array;
  readonly attributeIndex: number;
  readonly attributeData: boolean;
  readonly attribute: Uint8Array;
  readonly dac: DacState;
  readonly dispi: DispiState;
  readonly latch: number;
  readonly memory: Uint8Array;
  readonly changes: number;
  readonly activity: VideoActivity;
  readonly statusRead: number;
  readonly interruptCleared: number;
}

/** Blink phases that a generation number tells apart. */
const PHASES = 4096;

/** Registers of the CRT controller that decide about the cursor only. */
const CURSOR_REGISTERS: ReadonlySet<number> = new Set([
  CRTC.CURSOR_START,
  CRTC.CURSOR_END,
  CRTC.CURSOR_LOCATION_HIGH,
  CRTC.CURSOR_LOCATION_LOW,
]);

/** Bytes of display memory, unless other memory is given. */
export const VIDEO_MEMORY_SIZE = 16 << 20;

/** Memory that nobody but the device writes. */
function ownMemory(): DeviceMemory {
  return { bytes: new Uint8Array(VIDEO_MEMORY_SIZE), takeWritten: () => false, wrote() {} };
}

/**
 * VGA display adapter. `ports` belongs at 3B0h (48 ports), `memory` at A0000h (128 KB), `dispiPorts` at 1CEh (4 ports),
 * `frameBuffer` wherever the guest wants all of display memory.
 */
export class Vga implements Display, Stateful<VgaState> {
  readonly ports: PortDevice;
  readonly memory: MmioDevice;
  readonly dispiPorts: PortDevice;
  readonly frameBuffer: MmioDevice;
  readonly frameMemory: DeviceMemory;
  /** The registers in memory, wherever the guest wants them. */
  readonly registers: MmioDevice;
  readonly registersSize = REGISTERS_WINDOW_SIZE;
  /** The display interface's registers. */
  readonly dispi: Dispi;

  readonly #clock: Clock;
  readonly #memory: VideoMemory;
  readonly #dac = new Dac();
  readonly #picture = new Picture();
  #plan: Plan | undefined;
  readonly #sequencer = new Uint8Array(SEQUENCER_REGISTERS);
  readonly #crtc = new Uint8Array(CRTC_REGISTERS);
  readonly #graphics = new Uint8Array(GRAPHICS_REGISTERS);
  readonly #attribute = new Uint8Array(ATTRIBUTE_REGISTERS);
  #misc = 0;
  #feature = 0;
  #videoEnable = 1;
  #sequencerIndex = 0;
  #crtcIndex = 0;
  #graphicsIndex = 0;
  #attributeIndex = 0;
  /** The attribute flip-flop: true when the next write to 3C0h is data. */
  #attributeData = false;
  /** Guest time of the last read of input status 1. */
  #statusRead = 0;
  /** Guest time at which the vertical interrupt was last cleared. */
  #interruptCleared = 0;
  #timing: Timing | undefined;
  /** Visible changes of registers since power-on; memory counts its own. */
  #changes = 0;

  /** `memory`: display memory, a power of two from 256 KB up; default 16 MB of its own. */
  constructor(deps: { clock: Clock; memory?: DeviceMemory }) {
    this.#clock = deps.clock;
    this.frameMemory = deps.memory ?? ownMemory();
    this.#memory = new VideoMemory(this.frameMemory);
    this.memory = this.#memory;
    this.frameBuffer = this.#memory.linear;
    this.dispi = new Dispi({
      memorySize: this.#memory.bytes.length,
      changed: () => this.#configure(),
      clear: (bytes) => this.#memory.clear(bytes),
    });
    this.dispiPorts = new DispiPorts(this.dispi);
    this.ports = {
      read: (offset, size) => this.#readPorts(offset, size),
      write: (offset, size, value) => this.#writePorts(offset, size, value),
    };
    this.registers = new RegistersWindow({ ports: this.ports, dispi: this.dispi });
    this.reset();
  }

  text(): TextScreen | undefined {
    this.#memory.sync();
    return textScreen(this.#display());
  }

  frame(): Frame {
    this.#redraw();
    const { width, height, rgba } = this.#picture.frame;
    return { width, height, rgba: rgba.slice() };
  }

  feed(sink: FrameSink): FrameFeed {
    return new PictureFeed(this.#picture, sink, () => {
      this.#redraw();
      return cursorRectangle(this.#display());
    });
  }

  #redraw(): void {
    this.#memory.sync();
    this.#plan ??= planOf(this.#display());
    this.#picture.redraw(this.#plan, this.#blinkPhase(), this.#memory.map.pass());
  }

  get generation(): number {
    // Made of counters, so that looking at it changes nothing that the guest can see.
    return this.#generation(this.#memory.changes);
  }

  /** The same for firmware: it depends on what the guest did, and not on who looked at the screen meanwhile. */
  get guestGeneration(): number {
    return this.#generation(this.#memory.guestChanges);
  }

  #generation(memoryChanges: number): number {
    return (this.#changes + memoryChanges) * PHASES + (this.#phaseNumber() & (PHASES - 1));
  }

  reset(): void {
    this.#misc = 0;
    this.#feature = 0;
    this.#videoEnable = 1;
    this.#sequencerIndex = this.#crtcIndex = this.#graphicsIndex = this.#attributeIndex = 0;
    this.#attributeData = false;
    for (const registers of [this.#sequencer, this.#crtc, this.#graphics, this.#attribute]) registers.fill(0);
    this.#dac.reset();
    this.dispi.reset();
    this.#memory.reset();
    this.#statusRead = this.#interruptCleared = 0;
    this.#configure();
  }

  state(): VgaState {
    return {
      misc: this.#misc,
      feature: this.#feature,
      videoEnable: this.#videoEnable,
      sequencerIndex: this.#sequencerIndex,
      sequencer: this.#sequencer.slice(),
      crtcIndex: this.#crtcIndex,
      crtc: this.#crtc.slice(),
      graphicsIndex: this.#graphicsIndex,
      graphics: this.#graphics.slice(),
      attributeIndex: this.#attributeIndex,
      attributeData: this.#attributeData,
      attribute: this.#attribute.slice(),
      dac: this.#dac.state(),
      dispi: this.dispi.state(),
      latch: this.#memory.latch,
      memory: this.#memory.save(),
      changes: this.#changes,
      activity: this.#memory.activity(),
      statusRead: this.#statusRead,
      interruptCleared: this.#interruptCleared,
    };
  }

  restore(state: VgaState): void {
    this.#misc = state.misc;
    this.#feature = state.feature;
    this.#videoEnable = state.videoEnable;
    this.#sequencerIndex = state.sequencerIndex;
    this.#sequencer.set(state.sequencer);
    this.#crtcIndex = state.crtcIndex;
    this.#crtc.set(state.crtc);
    this.#graphicsIndex = state.graphicsIndex;
    this.#graphics.set(state.graphics);
    this.#attributeIndex = state.attributeIndex;
    this.#attributeData = state.attributeData;
    this.#attribute.set(state.attribute);
    this.#dac.restore(state.dac);
    this.dispi.restore(state.dispi);
    this.#memory.load(state.memory);
    this.#memory.latch = state.latch;
    this.#statusRead = state.statusRead;
    this.#interruptCleared = state.interruptCleared;
    this.#configure();
    this.#memory.resume(state.activity);
    this.#changes = state.changes;
  }

  /** Bring everything that is derived from registers up to date. */
  #configure(): void {
    this.#dac.wide = this.dispi.wideDac;
    this.#configureMemory();
    this.#timing = undefined;
    this.#lookChanges();
  }

  /** A register changed on which the picture depends. */
  #lookChanges(): void {
    this.#plan = undefined;
    this.#changes++;
  }

  #display(): DisplayState {
    return {
      sequencer: this.#sequencer,
      crtc: this.#crtc,
      graphics: this.#graphics,
      attribute: this.#attribute,
      paletteOn: (this.#attributeIndex & ATTRIBUTE_INDEX.PALETTE_ADDRESS_SOURCE) !== 0,
      dac: this.#dac,
      memory: this.#memory,
      linear: this.dispi.mode,
    };
  }

  #beam(): Timing {
    return (this.#timing ??= timing(this.#crtc, this.#sequencer[SEQ.CLOCKING_MODE]!, this.#misc));
  }

  #blinkPhase(): BlinkPhase {
    const frames = Math.floor(this.#clock.now() / this.#beam().frame);
    return {
      cursorOn: Math.floor(frames / CURSOR_FRAMES) % 2 === 0,
      charactersOn: Math.floor(frames / CHARACTER_FRAMES) % 2 === 0,
    };
  }

  /** A number that changes whenever blinking changes the picture; constant when nothing can blink. */
  #phaseNumber(): number {
    const cursor = isText(this.#display()) && (this.#crtc[CRTC.CURSOR_START]! & CURSOR.OFF) === 0;
    const characters = !this.dispi.mode && (this.#attribute[ATC.MODE_CONTROL]! & ATTRIBUTE_MODE.BLINK) !== 0;
    if (!cursor && !characters) return -1;
    const step = cursor ? CURSOR_FRAMES : CHARACTER_FRAMES;
    return Math.floor(this.#clock.now() / (this.#beam().frame * step));
  }

  #readPorts(offset: number, size: AccessSize): number {
    let value = 0;
    for (let i = 0; i < size; i++) value |= this.#readPort(offset + i) << (i * 8);
    return value >>> 0;
  }

  #writePorts(offset: number, size: AccessSize, value: number): void {
    for (let i = 0; i < size; i++) this.#writePort(offset + i, (value >>> (i * 8)) & 0xff);
  }

  /** The CRT controller and status 1 answer at 3Dx or at 3Bx; fold both onto 3Dx and refuse the one not selected. */
  #select(offset: number): number {
    const color = (this.#misc & MISC.COLOR_ADDRESS) !== 0;
    if (offset < PORT.ATTRIBUTE) return color ? -1 : offset + (PORT.CRTC_INDEX_COLOR - PORT.CRTC_INDEX_MONO);
    if (offset >= PORT.CRTC_INDEX_COLOR - PORT.CRTC_INDEX_MONO && !color) return -1;
    return offset;
  }

  #readPort(offset: number): number {
    if (offset === PORT.VIDEO_ENABLE) return this.#videoEnable;
    if ((this.#videoEnable & 1) === 0) return OPEN_BUS;
    switch (this.#select(offset)) {
      case PORT.ATTRIBUTE:
        return this.#attributeIndex;
      case PORT.ATTRIBUTE_READ:
        return this.#attribute[this.#attributeIndex & ATTRIBUTE_INDEX.INDEX_MASK] ?? 0;
      case PORT.STATUS0:
        return this.#status0();
      case PORT.SEQUENCER_INDEX:
        return this.#sequencerIndex;
      case PORT.SEQUENCER_DATA:
        return this.#sequencer[this.#sequencerIndex] ?? 0;
      case PORT.DAC_MASK:
        return this.#dac.mask;
      case PORT.DAC_READ_INDEX:
        return this.#dac.status;
      case PORT.DAC_WRITE_INDEX:
        return this.#dac.address;
      case PORT.DAC_DATA:
        return this.#dac.readData();
      case PORT.FEATURE_READ:
        return this.#feature;
      case PORT.MISC_READ:
        return this.#misc;
      case PORT.GRAPHICS_INDEX:
        return this.#graphicsIndex;
      case PORT.GRAPHICS_DATA:
        return this.#graphics[this.#graphicsIndex] ?? 0;
      case PORT.CRTC_INDEX_COLOR:
        return this.#crtcIndex;
      case PORT.CRTC_DATA_COLOR:
        return this.#readCrtc();
      case PORT.STATUS1_COLOR:
        return this.#status1();
      default:
        return OPEN_BUS;
    }
  }

  #writePort(offset: number, value: number): void {
    if (offset === PORT.VIDEO_ENABLE) {
      this.#videoEnable = value & 1;
      this.#configure();
      return;
    }
    if ((this.#videoEnable & 1) === 0) return;
    switch (this.#select(offset)) {
      case PORT.ATTRIBUTE:
        this.#writeAttribute(value);
        break;
      case PORT.STATUS0:
        this.#misc = value;
        this.#configure();
        break;
      case PORT.SEQUENCER_INDEX:
        this.#sequencerIndex = value & 0x07;
        break;
      case PORT.SEQUENCER_DATA:
        this.#writeSequencer(value);
        break;
      case PORT.DAC_MASK:
        this.#dac.mask = value;
        this.#lookChanges();
        break;
      case PORT.DAC_READ_INDEX:
        this.#dac.setReadAddress(value);
        break;
      case PORT.DAC_WRITE_INDEX:
        this.#dac.setWriteAddress(value);
        break;
      case PORT.DAC_DATA:
        this.#dac.writeData(value);
        this.#lookChanges();
        break;
      case PORT.GRAPHICS_INDEX:
        this.#graphicsIndex = value & 0x0f;
        break;
      case PORT.GRAPHICS_DATA:
        this.#writeGraphics(value);
        break;
      case PORT.CRTC_INDEX_COLOR:
        this.#crtcIndex = value & 0x3f;
        break;
      case PORT.CRTC_DATA_COLOR:
        this.#writeCrtc(value);
        break;
      case PORT.STATUS1_COLOR:
        this.#feature = value & 0x0b;
        break;
    }
  }

  #writeSequencer(value: number): void {
    const index = this.#sequencerIndex;
    if (index >= SEQUENCER_REGISTERS) return;
    this.#sequencer[index] = value & SEQUENCER_BITS[index]!;
    // The map mask, written for every plane of planar drawing, changes no pixel.
    if (index === SEQ.MAP_MASK) this.#configureMemory();
    else this.#configure();
  }

  #writeGraphics(value: number): void {
    const index = this.#graphicsIndex;
    if (index >= GRAPHICS_REGISTERS) return;
    this.#graphics[index] = value & GRAPHICS_BITS[index]!;
    if (index === GC.MODE || index === GC.MISCELLANEOUS) this.#configure();
    else this.#configureMemory();
  }

  #configureMemory(): void {
    const { mode, bank } = this.dispi;
    const banked = mode && { bank, planar: mode.bits === 4 };
    this.#memory.configure(this.#sequencer, this.#graphics, this.#misc, (this.#videoEnable & 1) !== 0, banked);
  }

  #writeAttribute(value: number): void {
    this.#attributeData = !this.#attributeData;
    if (this.#attributeData) {
      const before = this.#attributeIndex;
      this.#attributeIndex = value & (ATTRIBUTE_INDEX.INDEX_MASK | ATTRIBUTE_INDEX.PALETTE_ADDRESS_SOURCE);
      if ((before ^ this.#attributeIndex) & ATTRIBUTE_INDEX.PALETTE_ADDRESS_SOURCE) this.#lookChanges();
      return;
    }
    // The palette accepts writes with either address source, as the later ("type 2") video subsystem does.
    const index = this.#attributeIndex & ATTRIBUTE_INDEX.INDEX_MASK;
    if (index >= ATTRIBUTE_REGISTERS) return;
    this.#attribute[index] = value & ATTRIBUTE_BITS[index]!;
    this.#lookChanges();
  }

  #readCrtc(): number {
    const index = this.#crtcIndex;
    if (index < CRTC_REGISTERS) return this.#crtc[index]!;
    if (index === CRTC.LATCH_READ_BACK)
      return (this.#memory.latch >>> ((this.#graphics[GC.READ_MAP_SELECT]! & 3) * 8)) & 0xff;
    if (index === CRTC.ATTRIBUTE_READ_BACK) return this.#attributeData ? 0x80 : 0;
    return 0;
  }

  #writeCrtc(value: number): void {
    const index = this.#crtcIndex;
    if (index >= CRTC_REGISTERS) return;
    let next = value;
    if (index <= CRTC.OVERFLOW && this.#crtc[CRTC.VERTICAL_RETRACE_END]! & RETRACE_END.PROTECT) {
      if (index !== CRTC.OVERFLOW) return;
      next = (this.#crtc[index]! & ~OVERFLOW.LINE_COMPARE_8) | (value & OVERFLOW.LINE_COMPARE_8);
    }
    if (index === CRTC.VERTICAL_RETRACE_END && (value & RETRACE_END.NOT_CLEAR_INTERRUPT) === 0)
      this.#interruptCleared = this.#clock.now();
    if (this.#crtc[index] === next) return;
    this.#crtc[index] = next;
    this.#timing = undefined;
    if (CURSOR_REGISTERS.has(index)) this.#changes++;
    else this.#lookChanges();
  }

  #status0(): number {
    let status: number = STATUS0.SWITCH_SENSE;
    if (this.#crtc[CRTC.VERTICAL_RETRACE_END]! & RETRACE_END.NOT_CLEAR_INTERRUPT) {
      const { blankStart, frame } = this.#beam();
      if (count(this.#clock.now(), blankStart, frame) !== count(this.#interruptCleared, blankStart, frame))
        status |= STATUS0.INTERRUPT_PENDING;
    }
    return status;
  }

  #status1(): number {
    this.#attributeData = false;
    const now = this.#clock.now();
    const beam = this.#beam();
    const at = now % beam.frame;
    let status = 0;
    if (at >= beam.blankStart || at % beam.line >= beam.lineVisible) status |= STATUS1.DISPLAY_DISABLED;
    const slept =
      now - this.#statusRead < POLL_INTERVAL &&
      count(now, beam.retraceStart, beam.frame) !== count(this.#statusRead, beam.retraceStart, beam.frame);
    if (slept || (at >= beam.retraceStart && at < beam.retraceEnd))
      status |= STATUS1.VERTICAL_RETRACE | STATUS1.DISPLAY_DISABLED;
    this.#statusRead = now;
    return status;
  }
}

/** How often something that happens at `at` in every frame has happened by `time`. */
function count(time: number, at: number, frame: number): number {
  return Math.floor((time - at) / frame);
}
