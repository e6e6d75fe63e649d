/**
 * MP table: processor, buses, I/O APIC and its inputs, for systems that know APICs but not ACPI. Intel MultiProcessor
 * Specification 1.4, chapter 4.
 */
import { gsiOf, IO_APIC, LOCAL_APIC, PCI_PLACE, PIRQ_IRQS, pirqOf, SCI_IRQ } from "../../devices/pc-layout.ts";
import type { ProcessorIdentity } from "../board.ts";
import { ByteWriter, summed } from "./byte-writer.ts";

const REVISION = 4;
const POINTER_BYTES = 16;
const POINTER_CHECKSUM = 10;
const HEADER = { LENGTH: 4, CHECKSUM: 7, ENTRIES: 34 } as const;
const ENTRY = { PROCESSOR: 0, BUS: 1, IO_APIC: 2, IO_INTERRUPT: 3, LOCAL_INTERRUPT: 4 } as const;
const APIC_VERSION = { LOCAL: 0x14, IO: 0x11 } as const;
/** Enabled, the bootstrap processor. */
const PROCESSOR_FLAGS = 0x03;
const BUS = { PCI: 0, ISA: 1 } as const;
const INTERRUPT = { INT: 0, NMI: 1, EXTINT: 3 } as const;
/** Polarity and trigger: those of the bus; active high, level. */
const FLAGS = { OF_BUS: 0, LEVEL_HIGH: 0x0d } as const;
const ALL_APICS = 0xff;
const ISA_IRQS = 16;
const CASCADE = 2;
const PCI_DEVICES = 32;
const PINS = 4;

/** The configuration table. */
export function mpTable({ signature, features }: ProcessorIdentity): Uint8Array {
  const out = new ByteWriter();
  let entries = 0;
  const entry = (...fields: readonly (readonly [value: number, size: number])[]): void => {
    entries++;
    for (const [value, size] of fields) out.put(value, size);
  };
  out.text("PCMP").put(0, 2).bytes(REVISION, 0).text("VMXON   VMXONPC     ").put(0, 6).put(0, 2);
  out.put(LOCAL_APIC.base, 4).put(0, 4);
  entry(
    [ENTRY.PROCESSOR, 1],
    [LOCAL_APIC.id, 1],
    [APIC_VERSION.LOCAL, 1],
    [PROCESSOR_FLAGS, 1],
    [signature, 4],
    [features, 4],
    [0, 8],
  );
  for (const [id, name] of [
    [BUS.PCI, "PCI   "],
    [BUS.ISA, "ISA   "],
  ] as const) {
    entry([ENTRY.BUS, 1], [id, 1]);
    out.text(name);
  }
  entry([ENTRY.IO_APIC, 1], [IO_APIC.id, 1], [APIC_VERSION.IO, 1], [1, 1], [IO_APIC.base, 4]);
  const input = (type: number, flags: number, bus: number, source: number, pin: number): void =>
    entry([ENTRY.IO_INTERRUPT, 1], [type, 1], [flags, 2], [bus, 1], [source, 1], [IO_APIC.id, 1], [pin, 1]);
  // Devices of the chipset and of the slots, pin by pin.
  for (let device = PCI_PLACE.ISA.device; device < PCI_DEVICES; device++)
    for (let pin = 1; pin <= PINS; pin++)
      input(
        INTERRUPT.INT,
        FLAGS.LEVEL_HIGH,
        BUS.PCI,
        (device << 2) | (pin - 1),
        gsiOf(PIRQ_IRQS[pirqOf(device, pin)]!),
      );
  for (let irq = 0; irq < ISA_IRQS; irq++) {
    if (irq === CASCADE || PIRQ_IRQS.some((taken) => taken === irq)) continue;
    input(INTERRUPT.INT, irq === SCI_IRQ ? FLAGS.LEVEL_HIGH : FLAGS.OF_BUS, BUS.ISA, irq, gsiOf(irq));
  }
  const local = (type: number, lint: number): void =>
    entry([ENTRY.LOCAL_INTERRUPT, 1], [type, 1], [FLAGS.OF_BUS, 2], [BUS.ISA, 1], [0, 1], [ALL_APICS, 1], [lint, 1]);
  local(INTERRUPT.EXTINT, 0);
  local(INTERRUPT.NMI, 1);
  const bytes = out.done();
  const view = new DataView(bytes.buffer);
  view.setUint16(HEADER.LENGTH, bytes.length, true);
  view.setUint16(HEADER.ENTRIES, entries, true);
  return summed(bytes, HEADER.CHECKSUM);
}

/** Floating pointer to a table at `address`. The 8259s interrupt through the local APIC (virtual wire). */
export function mpPointer(address: number): Uint8Array {
  const out = new ByteWriter()
    .text("_MP_")
    .put(address, 4)
    .bytes(POINTER_BYTES / 16, REVISION, 0, 0, 0, 0, 0, 0);
  return summed(out.done(), POINTER_CHECKSUM);
}
