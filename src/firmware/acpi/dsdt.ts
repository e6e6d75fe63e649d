/** The DSDT: devices of the machine and their resources, interrupt links, sleeping states. ACPI specification 4.0. */
import {
  HPET_BASE,
  PCI_PLACE,
  PIRQ_COUNT,
  PIRQ_POSSIBLE,
  PM_BASE,
  pirqOf,
  SERIAL,
  SLEEP_TYPE,
  SMBUS_BASE,
} from "../../devices/pc-layout.ts";
import { type Board, PCI_WINDOW } from "../board.ts";
import type { Term } from "./aml.ts";
import * as aml from "./aml.ts";
import * as resource from "./resources.ts";

const PCI_DEVICES = 32;
const PCI_PINS = 4;
/** PIIX3's PIRQ route control registers; bit 7 is set while a PIRQ leads nowhere. */
const PIRQ_ROUTES = { OFFSET: 0x60, DISABLED: 0x80 } as const;
/** _STA: present, enabled, shown, functioning. */
const STATUS = { ENABLED: 0x0b, DISABLED: 0x09 } as const;
const HPET_BYTES = 0x400;
const PM_PORTS = 0x40;
const SMBUS_PORTS = 0x10;
/** P_BLK: offset from the power management base, and its length. */
const PROCESSOR_BLOCK = { OFFSET: 0x10, BYTES: 6 } as const;

const linkName = (pirq: number): string => `LNK${"ABCD"[pirq]}`;
const routeName = (pirq: number): string => `PRQ${"ABCD"[pirq]}`;
const address = (place: { readonly device: number; readonly function: number }): Term =>
  aml.name("_ADR", aml.integer(place.device * 0x10000 + place.function));

/** Interrupt pins of every slot, by the link that each leads to (6.2.12). */
function routing(): Term {
  const entries: Term[] = [];
  for (let slot = 0; slot < PCI_DEVICES; slot++)
    for (let pin = 0; pin < PCI_PINS; pin++)
      entries.push(
        aml.pack(
          aml.integer(slot * 0x10000 + 0xffff),
          aml.integer(pin),
          aml.path(`\\_SB.${linkName(pirqOf(slot, pin + 1))}`),
          aml.integer(0),
        ),
      );
  return aml.name("_PRT", aml.pack(...entries));
}

/** A PIRQ that systems may lead to another interrupt. */
function link(pirq: number): Term {
  const route = aml.path(`\\_SB.PCI0.ISA.${routeName(pirq)}`);
  const disabled = aml.and(route, aml.integer(PIRQ_ROUTES.DISABLED));
  return aml.device(
    linkName(pirq),
    aml.name("_HID", aml.eisaId("PNP0C0F")),
    aml.name("_UID", aml.integer(pirq + 1)),
    aml.name("_PRS", resource.template(resource.interrupts(...PIRQ_POSSIBLE))),
    aml.method(
      "_STA",
      0,
      false,
      aml.when(disabled, aml.give(aml.integer(STATUS.DISABLED))),
      aml.give(aml.integer(STATUS.ENABLED)),
    ),
    aml.method("_DIS", 0, false, aml.or(route, aml.integer(PIRQ_ROUTES.DISABLED), route)),
    aml.name("BUF", resource.template(resource.interrupts(0))),
    aml.createDwordField(aml.path("BUF"), resource.INTERRUPT_NUMBER_AT, "IRQ"),
    aml.method(
      "_CRS",
      0,
      true,
      aml.store(aml.integer(0), aml.path("IRQ")),
      aml.store(route, aml.local(0)),
      aml.when(
        aml.equal(aml.and(aml.local(0), aml.integer(PIRQ_ROUTES.DISABLED)), aml.integer(0)),
        aml.store(aml.local(0), aml.path("IRQ")),
      ),
      aml.give(aml.path("BUF")),
    ),
    aml.method(
      "_SRS",
      1,
      true,
      aml.createDwordField(aml.argument(0), resource.INTERRUPT_NUMBER_AT, "NEW"),
      aml.store(aml.path("NEW"), route),
    ),
  );
}

function isaDevice(name: string, id: string, uid: number | undefined, ...resources: readonly Term[]): Term {
  return aml.device(
    name,
    aml.name("_HID", aml.eisaId(id)),
    ...(uid === undefined ? [] : [aml.name("_UID", aml.integer(uid))]),
    aml.name("_CRS", resource.template(...resources)),
  );
}

/** What hangs on the ISA bridge. */
function isaDevices({ floppy, serial }: Board): Term[] {
  const { ports, isaIrq, isaDma } = resource;
  const devices = [
    isaDevice("PIC", "PNP0000", undefined, ports(0x20, 2), ports(0xa0, 2), ports(0x4d0, 2), isaIrq(2)),
    isaDevice("DMAC", "PNP0200", undefined, ports(0x00, 0x10), ports(0x81, 0x0f), ports(0xc0, 0x20), isaDma(4)),
    isaDevice("TIMR", "PNP0100", undefined, ports(0x40, 4), isaIrq(0)),
    isaDevice("RTC", "PNP0B00", undefined, ports(0x70, 2), isaIrq(8)),
    isaDevice("SPKR", "PNP0800", undefined, ports(0x61, 1)),
    isaDevice("COPR", "PNP0C04", undefined, ports(0xf0, 2), isaIrq(13)),
    isaDevice("KBD", "PNP0303", undefined, ports(0x60, 1), ports(0x64, 1), isaIrq(1)),
    isaDevice("MOU", "PNP0F13", undefined, isaIrq(12)),
    isaDevice(
      "SYSR",
      "PNP0C02",
      1,
      ports(0x80, 1),
      ports(0x92, 1),
      ports(0xb2, 2),
      ports(PM_BASE, PM_PORTS),
      ports(SMBUS_BASE, SMBUS_PORTS),
    ),
  ];
  if (floppy)
    devices.push(isaDevice("FDC0", "PNP0700", undefined, ports(0x3f0, 6), ports(0x3f7, 1), isaIrq(6), isaDma(2)));
  SERIAL.forEach(({ base, irq }, i) => {
    if (serial[i]) devices.push(isaDevice(`COM${i + 1}`, "PNP0501", i + 1, ports(base, 8), isaIrq(irq)));
  });
  return devices;
}

/** Memory behind the host bridge: the display's, option ROMs', what PCI functions are given. */
function hostBridge(board: Board): Term {
  const { MEMORY } = PCI_WINDOW;
  return aml.device(
    "PCI0",
    aml.name("_HID", aml.eisaId("PNP0A03")),
    aml.name("_UID", aml.integer(0)),
    aml.name(
      "_CRS",
      resource.template(
        resource.busWindow(0, 0xff),
        resource.ports(0xcf8, 8),
        resource.portWindow(0, 0xcf7),
        resource.portWindow(0xd00, 0xffff),
        resource.memoryWindow(0xa0000, 0xbffff),
        resource.memoryWindow(MEMORY.first, MEMORY.last),
      ),
    ),
    routing(),
    aml.device(
      "ISA",
      address(PCI_PLACE.ISA),
      aml.operationRegion("ROUT", aml.REGION.PCI_CONFIG, PIRQ_ROUTES.OFFSET, PIRQ_COUNT),
      aml.field("ROUT", ...Array.from({ length: PIRQ_COUNT }, (_, i) => [routeName(i), 8] as const)),
      ...isaDevices(board),
    ),
    aml.device("IDE0", address(PCI_PLACE.IDE)),
    aml.device("PM00", address(PCI_PLACE.PM)),
  );
}

/** High precision event timer (its own specification, 3.2.4). */
function hpet(): Term {
  return isaDevice("HPET", "PNP0103", 0, resource.fixedMemory(HPET_BASE, HPET_BYTES));
}

function sleep(state: keyof typeof SLEEP_TYPE): Term {
  const type = aml.integer(SLEEP_TYPE[state]);
  return aml.name(`\\_${state}`, aml.pack(type, type, aml.integer(0), aml.integer(0)));
}

/** The definition block's terms. */
export function dsdtTerms(board: Board): Term {
  return [
    ...aml.scope("\\_PR", aml.processor("CPU0", 0, PM_BASE + PROCESSOR_BLOCK.OFFSET, PROCESSOR_BLOCK.BYTES)),
    ...aml.scope(
      "\\_SB",
      hostBridge(board),
      ...(board.hpet ? [hpet()] : []),
      ...Array.from({ length: PIRQ_COUNT }, (_, i) => link(i)),
    ),
    ...sleep("S1"),
    ...sleep("S3"),
    ...sleep("S5"),
  ];
}
