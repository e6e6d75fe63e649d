/**
 * The DMA controllers of a PC/AT: two 8237As with their page registers, and the channels as devices use them.
 * Intel 231466 (8237A); page registers and 16-bit addressing: IBM AT TR 1-9.
 */
import { copyPlain } from "../common/plain.ts";
import type { AccessSize, GuestMemory, PortDevice, Stateful } from "../hypervisor/device.ts";

/** Registers beyond the eight of addresses and counts. */
const REG = {
  COMMAND: 8,
  REQUEST: 9,
  MASK_BIT: 10,
  MODE: 11,
  CLEAR_FLIP_FLOP: 12,
  CLEAR: 13,
  CLEAR_MASK: 14,
  MASK: 15,
} as const;
const COMMAND = { DISABLE: 1 << 2 } as const;
const MODE = { TYPE: 3 << 2, AUTO_INIT: 1 << 4, DECREMENT: 1 << 5 } as const;
/** Transfer types, named from the device's side of the bus. */
const TYPE = { VERIFY: 0 << 2, TO_MEMORY: 1 << 2, FROM_MEMORY: 2 << 2 } as const;
/** Bit that a single request or mask write sets or clears. */
const SET_BIT = 1 << 2;

/** Page register of each channel, as offsets from port 80h. */
const PAGE_OFFSETS: readonly number[] = [0x7, 0x3, 0x1, 0x2, 0xf, 0xb, 0x9, 0xa];
const CHANNELS = 8;

/** State of one channel. */
export interface DmaChannelState {
  baseAddress: number;
  baseCount: number;
  address: number;
  /** Transfers left minus one; FFFFh after terminal count. */
  count: number;
  mode: number;
}

/** State of one controller. Masks have bit n for channel n. */
export interface DmaControllerState {
  channels: DmaChannelState[];
  flipFlop: boolean;
  command: number;
  mask: number;
  /** Software requests. */
  request: number;
  /** DREQ lines. */
  lines: number;
  /** Channels that reached terminal count. */
  status: number;
  temporary: number;
}

function powerOn(): DmaControllerState {
  const channel = { baseAddress: 0, baseCount: 0, address: 0, count: 0, mode: 0 };
  return {
    channels: Array.from({ length: 4 }, () => ({ ...channel })),
    flipFlop: false,
    command: 0,
    mask: 15,
    request: 0,
    lines: 0,
    status: 0,
    temporary: 0,
  };
}

/** One 8237A. */
class Controller {
  s: DmaControllerState = powerOn();

  read(register: number): number {
    const { s } = this;
    if (register < REG.COMMAND) {
      const channel = s.channels[register >> 1]!;
      return this.half(register & 1 ? channel.count : channel.address);
    }
    if (register === REG.COMMAND) {
      const status = s.status | ((s.lines | s.request) << 4);
      s.status = 0;
      return status;
    }
    if (register === REG.CLEAR) return s.temporary;
    // Undocumented, but software of the time reads the mask here.
    return register === REG.MASK ? s.mask | 0xf0 : 0xff;
  }

  private half(value: number): number {
    const { s } = this;
    s.flipFlop = !s.flipFlop;
    return s.flipFlop ? value & 0xff : value >> 8;
  }

  private merge(value: number, byte: number): number {
    const { s } = this;
    s.flipFlop = !s.flipFlop;
    return s.flipFlop ? (value & 0xff00) | byte : (byte << 8) | (value & 0xff);
  }

  write(register: number, byte: number): void {
    const { s } = this;
    const channel = s.channels[byte & 3]!;
    const bit = 1 << (byte & 3);
    switch (register) {
      case REG.COMMAND:
        s.command = byte;
        break;
      case REG.REQUEST:
        s.request = byte & SET_BIT ? s.request | bit : s.request & ~bit;
        break;
      case REG.MASK_BIT:
        s.mask = byte & SET_BIT ? s.mask | bit : s.mask & ~bit;
        break;
      case REG.MODE:
        channel.mode = byte & 0xfc;
        break;
      case REG.CLEAR_FLIP_FLOP:
        s.flipFlop = false;
        break;
      case REG.CLEAR:
        this.clear();
        break;
      case REG.CLEAR_MASK:
        s.mask = 0;
        break;
      case REG.MASK:
        s.mask = byte & 15;
        break;
      default:
        this.writeChannel(s.channels[register >> 1]!, (register & 1) !== 0, byte);
    }
  }

  private writeChannel(channel: DmaChannelState, isCount: boolean, byte: number): void {
    if (isCount) channel.count = channel.baseCount = this.merge(channel.baseCount, byte);
    else channel.address = channel.baseAddress = this.merge(channel.baseAddress, byte);
  }

  private clear(): void {
    const { s } = this;
    s.command = 0;
    s.status = 0;
    s.request = 0;
    s.temporary = 0;
    s.flipFlop = false;
    s.mask = 15;
  }
}

/** Outcome of a transfer. The object is reused by the next one on its channel. */
export interface DmaResult {
  /** Bytes moved. */
  count: number;
  /** Terminal count was reached: the guest wants no more. */
  tc: boolean;
}

/** A channel as a device uses it. A masked or disabled channel moves nothing: `count` is 0 and `tc` false. */
export interface DmaChannel {
  /** Raise or drop the request line, which guests see in the status register. */
  setRequest(level: boolean): void;
  /** Bytes that the guest still wants; 0 while the channel is masked. */
  readonly remaining: number;
  /** Fill `target` from guest memory, to its end or terminal count. */
  readFromMemory(target: Uint8Array): DmaResult;
  /** Store `source` into guest memory, to its end or terminal count. */
  writeToMemory(source: Uint8Array): DmaResult;
}

/** State of the pair. */
export interface Dma8237State {
  first: DmaControllerState;
  second: DmaControllerState;
  /** Page registers, by offset from port 80h. */
  pages: Uint8Array;
}

/** Byte-wide port device over a function pair. */
function ports(read: (offset: number) => number, write: (offset: number, byte: number) => void): PortDevice {
  return {
    read: (offset: number, _size: AccessSize): number => read(offset),
    write: (offset: number, _size: AccessSize, value: number): void => write(offset, value & 0xff),
  };
}

/**
 * The pair. Transfer modes (single, block, demand) do not differ to a guest, since a device moves what it has in no time;
 * the cascade channel 4 is not asked for its mask, as guests that never heard of it rely on firmware there.
 */
export class Dma8237 implements Stateful<Dma8237State> {
  /** Ports 00h–0Fh: channels 0–3. */
  readonly first: PortDevice;
  /** Ports C0h–DFh: channels 4–7, two ports to a register. */
  readonly second: PortDevice;
  /** Ports 81h–8Fh: the page registers; offset 0 is port 81h. */
  readonly pages: PortDevice;
  private readonly memory: GuestMemory;
  private readonly controllers = [new Controller(), new Controller()] as const;
  private readonly page = new Uint8Array(16);
  private readonly channels: readonly DmaChannel[];

  constructor(deps: { readonly memory: GuestMemory }) {
    this.memory = deps.memory;
    const [first, second] = this.controllers;
    this.first = ports(
      (offset) => first.read(offset & 15),
      (offset, byte) => first.write(offset & 15, byte),
    );
    this.second = ports(
      (offset) => second.read((offset >> 1) & 15),
      (offset, byte) => second.write((offset >> 1) & 15, byte),
    );
    this.pages = ports(
      (offset) => this.page[(offset + 1) & 15]!,
      (offset, byte) => {
        this.page[(offset + 1) & 15] = byte;
      },
    );
    this.channels = Array.from({ length: CHANNELS }, (_, number) => this.makeChannel(number));
  }

  /** Channel 0–7. Channels 5–7 move words; buffers given to them have even lengths. */
  channel(number: number): DmaChannel {
    return this.channels[number & 7]!;
  }

  private makeChannel(number: number): DmaChannel {
    const controller = this.controllers[number < 4 ? 0 : 1];
    const index = number & 3;
    const bit = 1 << index;
    const width = number < 4 ? 1 : 2;
    const result: DmaResult = { count: 0, tc: false };
    const open = (): boolean => (controller.s.mask & bit) === 0 && (controller.s.command & COMMAND.DISABLE) === 0;
    const run = (type: number, buffer: Uint8Array): DmaResult => {
      result.count = 0;
      result.tc = false;
      if (!open()) return result;
      const channel = controller.s.channels[index]!;
      const units = Math.min(Math.floor(buffer.length / width), channel.count + 1);
      const bytes = buffer.subarray(0, units * width);
      if ((channel.mode & MODE.TYPE) === type) this.move(number, channel, width, bytes);
      else if (type === TYPE.FROM_MEMORY) bytes.fill(0xff);
      const step = channel.mode & MODE.DECREMENT ? -units : units;
      channel.address = (channel.address + step) & 0xffff;
      channel.count -= units;
      result.count = bytes.length;
      result.tc = channel.count < 0;
      if (result.tc) this.terminate(controller.s, channel, bit);
      return result;
    };
    return {
      setRequest: (level) => {
        controller.s.lines = level ? controller.s.lines | bit : controller.s.lines & ~bit;
      },
      get remaining(): number {
        return open() ? (controller.s.channels[index]!.count + 1) * width : 0;
      },
      readFromMemory: (target) => run(TYPE.FROM_MEMORY, target),
      writeToMemory: (source) => run(TYPE.TO_MEMORY, source),
    };
  }

  private terminate(controller: DmaControllerState, channel: DmaChannelState, bit: number): void {
    controller.status |= bit;
    controller.request &= ~bit;
    if (channel.mode & MODE.AUTO_INIT) {
      channel.address = channel.baseAddress;
      channel.count = channel.baseCount;
    } else {
      channel.count = 0xffff;
      controller.mask |= bit;
    }
  }

  /** Move the bytes; addresses wrap at the end of 64 Ki units, within the page. */
  private move(number: number, channel: DmaChannelState, width: 1 | 2, bytes: Uint8Array): void {
    const page = this.page[PAGE_OFFSETS[number]!]!;
    const base = width === 1 ? page << 16 : (page & 0xfe) << 16;
    const toMemory = (channel.mode & MODE.TYPE) === TYPE.TO_MEMORY;
    const down = (channel.mode & MODE.DECREMENT) !== 0;
    let at = channel.address;
    let done = 0;
    while (done < bytes.length) {
      const run = down ? width : Math.min(bytes.length - done, (0x10000 - at) * width);
      const part = bytes.subarray(done, done + run);
      const address = base + at * width;
      if (toMemory) this.memory.write(address, part);
      else this.memory.read(address, part);
      done += run;
      at = (at + (down ? -1 : run / width)) & 0xffff;
    }
  }

  reset(): void {
    for (const controller of this.controllers) controller.s = { ...powerOn(), lines: controller.s.lines };
    this.page.fill(0);
  }

  state(): Dma8237State {
    return copyPlain({ first: this.controllers[0].s, second: this.controllers[1].s, pages: this.page });
  }

  restore(state: Dma8237State): void {
    this.controllers[0].s = copyPlain(state.first);
    this.controllers[1].s = copyPlain(state.second);
    this.page.set(state.pages);
  }
}
