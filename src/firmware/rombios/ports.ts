/** INT 14h (serial ports) and INT 17h (printers), and POST's search for them. Ralf Brown INT 14h and 17h. */
import type { Service } from "../service.ts";
import type { Label } from "./call.ts";
import { Call, reached } from "./call.ts";
import { notIdle } from "./idle.ts";
import { BDA, EBDA } from "./layout.ts";

const SERIAL_BASES = [0x3f8, 0x2f8, 0x3e8, 0x2e8];
const PARALLEL_BASES = [0x378, 0x278, 0x3bc];
const MAX_PARALLEL = 3;

/** 16550 registers and bits. */
const UART = { DATA: 0, IER: 1, IIR: 2, LCR: 3, MCR: 4, LSR: 5, MSR: 6, SCRATCH: 7 } as const;
const LCR_DLAB = 0x80;
const LSR = { DATA_READY: 0x01, ERRORS: 0x1e, THR_EMPTY: 0x20 } as const;
const MCR_DTR = 0x01;
const MCR_RTS = 0x02;
const SERIAL_TIMEOUT = 0x80;
/** One unit of 40:7Ch, in ms; IBM's unit is a loop of about this length. */
const TIMEOUT_UNIT_MS = 1000;
/** Divisors of 110, 150, 300, 600, 1200, 2400, 4800 and 9600 baud. */
export const BAUD_DIVISORS = [1047, 768, 384, 192, 96, 48, 24, 12];

/** Printer port registers and bits; status bits 3, 6 and 7 are inverted in what INT 17h returns. */
const PRINTER = { DATA: 0, STATUS: 1, CONTROL: 2 } as const;
const PRINTER_CONTROL = { STROBE: 0x01, INITIALIZE: 0x04, SELECT: 0x08 } as const;
const PRINTER_STATUS_INVERT = 0x48;
const PRINTER_STATUS_BITS = 0xf8;
const PRINTER_READY = 0x80;
const PRINTER_TIMEOUT = 0x01;

/** Fill 40:00h–0Fh and the time-outs; gives the equipment word's bits for both kinds of ports. */
export function findPorts(call: Call): number {
  const { memory, io } = call.context;
  const serial = SERIAL_BASES.filter((base) => {
    io.out(base + UART.SCRATCH, 1, 0x5a);
    const scratch = io.in(base + UART.SCRATCH, 1);
    io.out(base + UART.IER, 1, 0);
    return scratch === 0x5a && io.in(base + UART.IER, 1) === 0;
  });
  const parallel = PARALLEL_BASES.filter((base) => {
    io.out(base + PRINTER.DATA, 1, 0xaa);
    return io.in(base + PRINTER.DATA, 1) === 0xaa;
  }).slice(0, MAX_PARALLEL);
  serial.forEach((base, i) => {
    memory.write16(BDA.SERIAL_PORTS + 2 * i, base);
    memory.write8(BDA.SERIAL_TIMEOUTS + i, 1);
  });
  parallel.forEach((base, i) => {
    memory.write16(BDA.PARALLEL_PORTS + 2 * i, base);
    memory.write8(BDA.PARALLEL_TIMEOUTS + i, 20);
  });
  return (serial.length << 9) | (parallel.length << 14);
}

function serialStatus(call: Call, base: number): void {
  const { io } = call.context;
  call.ah = io.in(base + UART.LSR, 1);
  call.al = io.in(base + UART.MSR, 1);
}

/** Start or go on with a transfer; false while it has to wait. */
function serialTransfer(call: Call, base: number): boolean {
  const { io } = call.context;
  const status = io.in(base + UART.LSR, 1);
  if (call.ah === 0x01) {
    if ((status & LSR.THR_EMPTY) === 0) return false;
    io.out(base + UART.DATA, 1, call.al);
    call.ah = io.in(base + UART.LSR, 1) & ~SERIAL_TIMEOUT;
  } else {
    if ((status & LSR.DATA_READY) === 0) return false;
    call.al = io.in(base + UART.DATA, 1);
    call.ah = status & LSR.ERRORS;
  }
  return true;
}

function serialInitialize(call: Call, base: number): void {
  const { io } = call.context;
  const divisor = BAUD_DIVISORS[call.al >> 5]!;
  io.out(base + UART.LCR, 1, LCR_DLAB);
  io.out(base + UART.DATA, 1, divisor & 0xff);
  io.out(base + UART.IER, 1, divisor >> 8);
  io.out(base + UART.LCR, 1, call.al & 0x1f);
  io.out(base + UART.IER, 1, 0);
  serialStatus(call, base);
}

function serial(call: Call, label: Label): void {
  const { memory, io } = call.context;
  notIdle(call);
  if (call.dx > 3) return;
  const base = memory.read16(BDA.SERIAL_PORTS + 2 * call.dx);
  if (base === 0) return;
  switch (call.ah) {
    case 0x00:
      serialInitialize(call, base);
      return;
    case 0x01:
    case 0x02: {
      io.out(base + UART.MCR, 1, call.ah === 0x01 ? MCR_DTR | MCR_RTS : MCR_DTR);
      if (serialTransfer(call, base)) return;
      const timeout = memory.read8(BDA.SERIAL_TIMEOUTS + call.dx) * TIMEOUT_UNIT_MS;
      memory.write32(call.ebda + EBDA.WAIT_DEADLINE, (call.milliseconds + timeout) >>> 0);
      call.goTo(label("int14_wait"));
      return;
    }
    case 0x03:
      serialStatus(call, base);
      return;
  }
}

function serialPoll(call: Call): boolean {
  const { memory, io } = call.context;
  const base = memory.read16(BDA.SERIAL_PORTS + 2 * call.dx);
  if (serialTransfer(call, base)) return true;
  if (!reached(call.milliseconds, memory.read32(call.ebda + EBDA.WAIT_DEADLINE))) return false;
  call.ah = io.in(base + UART.LSR, 1) | SERIAL_TIMEOUT;
  return true;
}

function printerStatus(call: Call, base: number): number {
  const status = call.context.io.in(base + PRINTER.STATUS, 1);
  return (status ^ PRINTER_STATUS_INVERT) & PRINTER_STATUS_BITS;
}

function printer(call: Call): void {
  const { memory, io } = call.context;
  if (call.dx >= MAX_PARALLEL) return;
  const base = memory.read16(BDA.PARALLEL_PORTS + 2 * call.dx);
  if (base === 0) return;
  const idle = PRINTER_CONTROL.INITIALIZE | PRINTER_CONTROL.SELECT;
  switch (call.ah) {
    case 0x00: {
      io.out(base + PRINTER.DATA, 1, call.al);
      const status = printerStatus(call, base);
      if ((status & PRINTER_READY) === 0) {
        call.ah = status | PRINTER_TIMEOUT;
        return;
      }
      io.out(base + PRINTER.CONTROL, 1, idle | PRINTER_CONTROL.STROBE);
      io.out(base + PRINTER.CONTROL, 1, idle);
      call.ah = printerStatus(call, base);
      return;
    }
    case 0x01:
      io.out(base + PRINTER.CONTROL, 1, PRINTER_CONTROL.SELECT);
      io.out(base + PRINTER.CONTROL, 1, idle);
      call.ah = printerStatus(call, base);
      return;
    case 0x02:
      call.ah = printerStatus(call, base);
      return;
  }
}

/** Services of INT 14h and INT 17h. */
export function portServices(label: Label): Readonly<Record<string, Service>> {
  return {
    int14: (context) => serial(new Call(context), label),
    int14_poll: (context) => {
      const call = new Call(context);
      call.stubZero = !serialPoll(call);
    },
    int17: (context) => printer(new Call(context)),
  };
}
