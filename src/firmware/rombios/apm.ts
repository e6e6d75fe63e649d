/**
 * INT 15h/53h: advanced power management, with its interfaces for real mode and for protected mode of 16 and of 32 bits.
 * Enough for systems to idle and to switch themselves off. APM BIOS interface specification 1.2.
 */
import type { Service } from "../service.ts";
import { Call, type Label } from "./call.ts";
import { EBDA, ROM } from "./layout.ts";

const VERSION = 0x0102;
const SIGNATURE = 0x504d;
const ALL_DEVICES = 0x0001;
const BIOS_DEVICE = 0x0000;
const POWER_OFF = 3;
const LAST_STATE = 3;
const STATE = { CONNECTED: 0x01, ENABLED: 0x02, ENGAGED: 0x04 } as const;
/** What AL=00h tells in CX: interfaces for protected mode. */
const INTERFACES = { BITS_16: 0x01, BITS_32: 0x02 } as const;
/** Where the entries' segments end. */
const SEGMENT_LIMIT = 0xffff;
/** Versions that a driver can ask for, as BCD. */
const FIRST_VERSION = 0x0100;
const ERROR = {
  DISABLED: 0x01,
  ALREADY_CONNECTED: 0x02,
  NOT_CONNECTED: 0x03,
  BAD_DEVICE: 0x09,
  BAD_VALUE: 0x0a,
  NO_EVENTS: 0x80,
  UNSUPPORTED: 0x86,
} as const;
/** AC on-line; no battery: BL status unknown, CL percentage unknown, DX time unknown. */
const ON_MAINS = { BX: 0x01ff, CX: 0x00ff, DX: 0xffff } as const;

function fail(call: Call, error: number): void {
  call.ah = error;
  call.carry = true;
}

function isKnown(device: number): boolean {
  return device === BIOS_DEVICE || device === ALL_DEVICES;
}

function setState(call: Call, powerOff: () => void): void {
  if (!isKnown(call.bx)) fail(call, ERROR.BAD_DEVICE);
  else if (call.cx > LAST_STATE || call.bx === BIOS_DEVICE) fail(call, ERROR.BAD_VALUE);
  else if (call.cx === POWER_OFF) powerOff();
}

function switchBit(call: Call, state: number, bit: number): void {
  if (!isKnown(call.bx) && call.bx !== 0xffff) fail(call, ERROR.BAD_DEVICE);
  else if (call.cx > 1) fail(call, ERROR.BAD_VALUE);
  else call.context.memory.write8(call.ebda + EBDA.APM_STATE, call.cx === 1 ? state | bit : state & ~bit);
}

/** AL=02h, 03h: segments, entry and limits of the interface; code and data are the system ROM's segment. */
function tellEntry(call: Call, entry: number, wide: boolean): void {
  const { cpu } = call.context;
  call.ax = ROM.SEGMENT;
  call.cx = ROM.SEGMENT;
  call.di = SEGMENT_LIMIT;
  if (wide) {
    cpu.ebx = entry;
    call.dx = ROM.SEGMENT;
    cpu.esi = ((SEGMENT_LIMIT << 16) | SEGMENT_LIMIT) >>> 0;
  } else {
    call.bx = entry;
    call.si = SEGMENT_LIMIT;
  }
}

/** The APM function in AL. `idle` is where the stub waits for an interrupt and returns. */
export function powerManagement(call: Call, label: Label, powerOff: () => void, idle = label("int15_idle")): void {
  const { memory } = call.context;
  const at = call.ebda + EBDA.APM_STATE;
  const state = memory.read8(at);
  const fn = call.al;
  call.carry = false;
  if (fn === 0x00) {
    if (call.bx !== BIOS_DEVICE) {
      fail(call, ERROR.BAD_DEVICE);
      return;
    }
    call.ax = VERSION;
    call.bx = SIGNATURE;
    call.cx = INTERFACES.BITS_16 | INTERFACES.BITS_32;
    return;
  }
  if (fn >= 0x01 && fn <= 0x03) {
    if (call.bx !== BIOS_DEVICE) fail(call, ERROR.BAD_DEVICE);
    else if ((state & STATE.CONNECTED) !== 0) fail(call, ERROR.ALREADY_CONNECTED);
    else {
      memory.write8(at, STATE.CONNECTED | STATE.ENABLED | STATE.ENGAGED);
      if (fn !== 0x01) tellEntry(call, fn === 0x02 ? label("apm_16") : label("apm_32"), fn === 0x03);
    }
    return;
  }
  if ((state & STATE.CONNECTED) === 0) {
    fail(call, fn <= 0x0f ? ERROR.NOT_CONNECTED : ERROR.UNSUPPORTED);
    return;
  }
  call.ah = 0;
  switch (fn) {
    case 0x04:
      memory.write8(at, 0);
      return;
    case 0x05:
      call.goTo(idle);
      return;
    case 0x06:
    case 0x0d:
      return;
    case 0x07:
      setState(call, powerOff);
      return;
    case 0x08:
      switchBit(call, state, STATE.ENABLED);
      return;
    case 0x09:
      memory.write8(at, STATE.CONNECTED | STATE.ENABLED | STATE.ENGAGED);
      return;
    case 0x0a:
      if (!isKnown(call.bx)) fail(call, ERROR.BAD_DEVICE);
      else {
        call.bx = ON_MAINS.BX;
        call.cx = ON_MAINS.CX;
        call.dx = ON_MAINS.DX;
      }
      return;
    case 0x0b:
      fail(call, ERROR.NO_EVENTS);
      return;
    case 0x0c:
      if (isKnown(call.bx)) call.cx = 0;
      else fail(call, ERROR.BAD_DEVICE);
      return;
    case 0x0e:
      if (call.bx !== BIOS_DEVICE) fail(call, ERROR.BAD_DEVICE);
      else call.ax = Math.max(FIRST_VERSION, Math.min(call.cx, VERSION));
      return;
    case 0x0f:
      switchBit(call, state, STATE.ENGAGED);
      return;
    default:
      fail(call, ERROR.UNSUPPORTED);
  }
}

/** Services behind the protected-mode entries. */
export function powerServices(label: Label, powerOff: () => void): Readonly<Record<string, Service>> {
  return {
    apm_16: (context) => powerManagement(new Call(context, "far"), label, powerOff, label("apm_16_idle")),
    apm_32: (context) => powerManagement(new Call(context, "far"), label, powerOff, label("apm_32_idle")),
  };
}
