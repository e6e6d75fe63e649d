/**
 * VMware's backdoor with its absolute pointer, as guests find it in VMware and in QEMU ("vmmouse"): a port that is asked
 * through registers. Facts: VMware's open-vm-tools ("backdoor_def.h") and vmmouse driver; QEMU's vmport and vmmouse.
 *
 * The guest reads the port with EAX = magic, ECX = command and EBX = parameter, and finds answers in EAX to EDX.
 *
 * | command          | parameter           | answer                                                          |
 * |------------------|---------------------|-----------------------------------------------------------------|
 * | 10 get version   |                     | EAX version, EBX magic, ECX product                             |
 * | 39 pointer data  | words, 1 to 4       | as many words of the queue                                      |
 * | 40 pointer status|                     | words in the queue; FFFFh above them while the pointer is off   |
 * | 41 pointer command| identify, absolute, relative, off |                                                 |
 */
import { copyPlain } from "../common/plain.ts";
import type { AccessSize, PortDevice, ProcessorRegisters, Stateful } from "../hypervisor/device.ts";
import { MOUSE_BUTTON } from "./ps2-mouse.ts";

const MAGIC = 0x564d5868;
const COMMAND = { VERSION: 10, POINTER_DATA: 39, POINTER_STATUS: 40, POINTER_COMMAND: 41 } as const;
const VERSION = 6;
/** "ESX": what QEMU says too. */
const PRODUCT = 2;
const POINTER = {
  READ_ID: 0x45414552,
  DISABLE: 0x000000f5,
  REQUEST_RELATIVE: 0x4c455252,
  REQUEST_ABSOLUTE: 0x53424152,
} as const;
/** First word of the queue behind READ_ID. */
const POINTER_ID = 0x3442554a;
const STATUS_OFF = 0xffff;
/** First word of a packet. */
const PACKET = { LEFT: 0x20, RIGHT: 0x10, MIDDLE: 0x08 } as const;
const PACKET_WORDS = 4;
const MOST_WORDS = 1024;
const COMMAND_MASK = 0xffff;
const ALL_ONES = { 1: 0xff, 2: 0xffff, 4: 0xffff_ffff } as const;

/** State of the pointer. */
export interface VmMouseState {
  queue: number[];
  off: boolean;
  absolute: boolean;
}

export interface VmMouseDeps {
  readonly registers: ProcessorRegisters;
  /** Have the PS/2 mouse interrupt: its driver then looks here. */
  readonly nudge: () => void;
}

/** The port, of four bytes. */
export class VmMouse implements PortDevice, Stateful<VmMouseState> {
  readonly #deps: VmMouseDeps;
  #state: VmMouseState = powerOn();

  constructor(deps: VmMouseDeps) {
    this.#deps = deps;
  }

  /** The guest has a driver that takes absolute positions. */
  get absolute(): boolean {
    return this.#state.absolute && !this.#state.off;
  }

  /**
   * The pointer is at (`x`, `y`), from 0 to 65535 over the whole picture, and its wheel was turned by `dz` notches towards
   * the user; `buttons` are those now down (MOUSE_BUTTON).
   */
  moveTo(x: number, y: number, dz: number, buttons: number): void {
    const { queue } = this.#state;
    if (!this.absolute || queue.length > MOST_WORDS - PACKET_WORDS) return;
    const down =
      (buttons & MOUSE_BUTTON.LEFT ? PACKET.LEFT : 0) |
      (buttons & MOUSE_BUTTON.RIGHT ? PACKET.RIGHT : 0) |
      (buttons & MOUSE_BUTTON.MIDDLE ? PACKET.MIDDLE : 0);
    const clamp = (value: number): number => Math.max(0, Math.min(0xffff, Math.round(value)));
    queue.push(down, clamp(x), clamp(y), Math.trunc(dz) >>> 0);
    this.#deps.nudge();
  }

  read(_offset: number, size: AccessSize): number {
    const { registers } = this.#deps;
    if (size !== 4 || registers.eax !== MAGIC) return ALL_ONES[size];
    switch (registers.ecx & COMMAND_MASK) {
      case COMMAND.VERSION:
        registers.ebx = MAGIC;
        registers.ecx = PRODUCT;
        return VERSION;
      case COMMAND.POINTER_STATUS:
        return ((this.#state.off ? STATUS_OFF : 0) * 0x10000 + this.#state.queue.length) >>> 0;
      case COMMAND.POINTER_COMMAND:
        this.#command(registers.ebx);
        return registers.eax;
      case COMMAND.POINTER_DATA:
        return this.#data(registers);
      default:
        return ALL_ONES[4];
    }
  }

  write(): void {}

  #command(command: number): void {
    const state = this.#state;
    switch (command) {
      case POINTER.READ_ID:
        state.off = false;
        state.queue = [POINTER_ID];
        break;
      case POINTER.DISABLE:
        this.#state = powerOn();
        break;
      case POINTER.REQUEST_ABSOLUTE:
      case POINTER.REQUEST_RELATIVE:
        state.absolute = command === POINTER.REQUEST_ABSOLUTE;
        break;
    }
  }

  /** As many words as EBX asks for, in EAX, EBX, ECX and EDX; a driver that asks for others is out of step. */
  #data(registers: ProcessorRegisters): number {
    const { queue } = this.#state;
    const count = registers.ebx;
    if (count < 1 || count > PACKET_WORDS || count > queue.length) {
      this.#state = powerOn();
      return ALL_ONES[4];
    }
    const words = queue.splice(0, count);
    if (count > 1) registers.ebx = words[1]!;
    if (count > 2) registers.ecx = words[2]!;
    if (count > 3) registers.edx = words[3]!;
    return words[0]!;
  }

  reset(): void {
    this.#state = powerOn();
  }

  state(): VmMouseState {
    return copyPlain(this.#state);
  }

  restore(state: VmMouseState): void {
    this.#state = copyPlain(state);
  }
}

function powerOn(): VmMouseState {
  return { queue: [], off: true, absolute: false };
}
