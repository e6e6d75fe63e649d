/** A machine for tests of the firmware. */
import type { Board } from "../../src/firmware/board.ts";

/** A PC with ACPI, no APIC and one serial port. */
export function testBoard(memory: number, changes: Partial<Board> = {}): Board {
  return {
    memory,
    acpi: true,
    apic: false,
    hpet: false,
    floppy: true,
    serial: [true],
    processor: { signature: 0x634, features: 0x0183_f9ff, maker: "GenuineVMXON" },
    ...changes,
  };
}
