/** Resource descriptors and templates of ACPI device configuration. ACPI specification 4.0, 6.4. */
import { buffer, type Term } from "./aml.ts";

/** Tags of descriptors: small ones with their length in bits 0–2. */
const TAG = {
  IRQ_NO_FLAGS: 0x22,
  DMA: 0x2a,
  IO: 0x47,
  END: 0x79,
  FIXED_MEMORY32: 0x86,
  DWORD_SPACE: 0x87,
  WORD_SPACE: 0x88,
  EXTENDED_INTERRUPT: 0x89,
} as const;
const DECODE_16 = 0x01;
const SPACE = { MEMORY: 0, IO: 1, BUS: 2 } as const;
/** General flags: both ends are fixed; produces resources. */
const FIXED_WINDOW = 0x0c;
/** Memory flags: cacheable, read and write; I/O: the whole range. */
const MEMORY_FLAGS = 0x03;
const IO_FLAGS = 0x03;
/** Extended interrupt: consumer, level, active high, shared. */
const INTERRUPT_FLAGS = 0x09;
const READ_WRITE = 0x01;

const bytes = (value: number, count: number): number[] =>
  Array.from({ length: count }, (_, i) => Math.floor(value / 2 ** (8 * i)) & 0xff);

/** Fixed I/O ports. */
export function ports(base: number, count: number): Term {
  return [TAG.IO, DECODE_16, ...bytes(base, 2), ...bytes(base, 2), 1, count];
}

/** An edge-triggered ISA interrupt. */
export function isaIrq(irq: number): Term {
  return [TAG.IRQ_NO_FLAGS, ...bytes(1 << irq, 2)];
}

/** An ISA DMA channel: compatible timing, bytes. */
export function isaDma(channel: number): Term {
  return [TAG.DMA, 1 << channel, 0];
}

/** Level-triggered, shared interrupts. */
export function interrupts(...list: readonly number[]): Term {
  const body = [INTERRUPT_FLAGS, list.length, ...list.flatMap((irq) => bytes(irq, 4))];
  return [TAG.EXTENDED_INTERRUPT, ...bytes(body.length, 2), ...body];
}

/** Where the number stands in the descriptor of one interrupt. */
export const INTERRUPT_NUMBER_AT = 5;

export function fixedMemory(base: number, size: number): Term {
  return [TAG.FIXED_MEMORY32, 9, 0, READ_WRITE, ...bytes(base, 4), ...bytes(size, 4)];
}

function window(tag: number, width: 2 | 4, kind: number, flags: number, first: number, last: number): Term {
  const values = [0, first, last, 0, last - first + 1].flatMap((value) => bytes(value, width));
  return [tag, ...bytes(values.length + 3, 2), kind, FIXED_WINDOW, flags, ...values];
}

/** Buses that a bridge leads to. */
export function busWindow(first: number, last: number): Term {
  return window(TAG.WORD_SPACE, 2, SPACE.BUS, 0, first, last);
}

/** Ports that a bridge leads to. */
export function portWindow(first: number, last: number): Term {
  return window(TAG.WORD_SPACE, 2, SPACE.IO, IO_FLAGS, first, last);
}

/** Memory that a bridge leads to. */
export function memoryWindow(first: number, last: number): Term {
  return window(TAG.DWORD_SPACE, 4, SPACE.MEMORY, MEMORY_FLAGS, first, last);
}

/** A template of descriptors. A checksum of zero is always right. */
export function template(...descriptors: readonly Term[]): Term {
  return buffer([...descriptors.flat(), TAG.END, 0]);
}
