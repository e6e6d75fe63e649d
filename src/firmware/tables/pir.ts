/** PCI interrupt routing table ($PIR): which PIRQ each slot's pins lead to. Microsoft PCI IRQ Routing Table 1.0. */
import { PCI_PLACE, PIRQ_POSSIBLE, pirqOf } from "../../devices/pc-layout.ts";
import { ByteWriter, summed } from "./byte-writer.ts";

const VERSION = 0x0100;
const HEADER_BYTES = 32;
const SLOT_BYTES = 16;
const CHECKSUM_AT = 31;
/** The routers whose programming interface the chipset's is: 82371FB, of whose family it is. */
const COMPATIBLE_ROUTER = { vendor: 0x8086, device: 0x122e } as const;
/** Link values are the router's registers. */
const FIRST_ROUTE = 0x60;
const PINS = 4;
/** Slots that take cards, behind the chipset's own device. */
const SLOTS = { FIRST: 1, LAST: 8 } as const;

/** Bit by IRQ that a PIRQ can lead to. */
export const PIRQ_MASK: number = PIRQ_POSSIBLE.reduce((mask, irq) => mask | (1 << irq), 0);

/** Entries by device: INTA–INTD with link value and possible IRQs, then slot number. */
export function routingSlots(): Uint8Array {
  const out = new ByteWriter();
  for (let device = SLOTS.FIRST; device <= SLOTS.LAST; device++) {
    out.bytes(0, device << 3);
    for (let pin = 1; pin <= PINS; pin++) out.bytes(FIRST_ROUTE + pirqOf(device, pin)).put(PIRQ_MASK, 2);
    // The chipset is on the board, and has number 0.
    out.bytes(device === PCI_PLACE.ISA.device ? 0 : device, 0);
  }
  return out.done();
}

/** The table with its header. */
export function interruptRouting(): Uint8Array {
  const slots = routingSlots();
  const { device, function: number } = PCI_PLACE.ISA;
  const out = new ByteWriter()
    .text("$PIR")
    .put(VERSION, 2)
    .put(HEADER_BYTES + slots.length, 2)
    .bytes(0, (device << 3) | number)
    .put(0, 2)
    .put(COMPATIBLE_ROUTER.vendor, 2)
    .put(COMPATIBLE_ROUTER.device, 2)
    .put(0, HEADER_BYTES - 16)
    .bytes(...slots);
  return summed(out.done(), CHECKSUM_AT);
}

/** Bytes of one entry. */
export const ROUTING_SLOT_BYTES = SLOT_BYTES;
