/**
 * The machine description: which device of a PC/AT stands where, on which interrupt line, and how they are wired to each
 * other. The only place that knows addresses.
 */
import type { ByteSink, FloppyDrive, IdeUnit } from "../hypervisor/backend.ts";
import type { Clock } from "../hypervisor/clock.ts";
import type {
  AccessSize,
  GuestMemory,
  InterruptLine,
  IoBus,
  MmioDevice,
  PortDevice,
  ProcessorRegisters,
  ShadowControl,
  Stateful,
} from "../hypervisor/device.ts";
import { HPET_SIZE, Hpet } from "../hypervisor/hpet.ts";
import { IO_APIC_SIZE, IoApic } from "../hypervisor/io-apic.ts";
import type { LocalApic } from "../hypervisor/local-apic.ts";
import { Mc146818 } from "../hypervisor/mc146818.ts";
import { Pic8259 } from "../hypervisor/pic8259.ts";
import { Pit8254 } from "../hypervisor/pit8254.ts";
import { A20Gate } from "./a20-gate.ts";
import type { AcpiPm, SleepState } from "./acpi-pm.ts";
import { type Chipset, createChipset } from "./chipset.ts";
import { Dma8237 } from "./dma8237.ts";
import { Fdc82077 } from "./fdc82077.ts";
import { FwCfg, type FwCfgDeps } from "./fw-cfg.ts";
import { I8042 } from "./i8042.ts";
import { IdeChannel } from "./ide.ts";
import { DEFAULT_KEYMAP, type KeymapName, keymapOf } from "./keymaps.ts";
import { LineSelector } from "./line-selector.ts";
import { type BootDevice, fillCmos } from "./pc-cmos.ts";
import { CMOS_S3_RESUME, gsiOf, HPET_BASE, IO_APIC, SERIAL, TIMER_GSI } from "./pc-layout.ts";
import type { PciBus } from "./pci/pci-bus.ts";
import { VgaPci, type VgaWindows } from "./pci/vga-pci.ts";
import { Ps2Keyboard } from "./ps2-keyboard.ts";
import { Ps2Mouse } from "./ps2-mouse.ts";
import { DebugPort, FerrLatch, PortA, PortB, PostPort } from "./system-ports.ts";
import { Typist } from "./typist.ts";
import { Uart16550 } from "./uart16550.ts";
import { VmMouse } from "./vmmouse.ts";

/** Interrupt inputs. */
const IRQ = { TIMER: 0, KEYBOARD: 1, FLOPPY: 6, RTC: 8, MOUSE: 12, FERR: 13 } as const;
const FLOPPY_DMA = 2;
/** IDE channels; two disks each. */
const IDE = [
  { name: "ide0", base: 0x1f0, control: 0x3f6, irq: 14 },
  { name: "ide1", base: 0x170, control: 0x376, irq: 15 },
] as const;
const BACKDOOR = { name: "vmware", base: 0x5658, count: 4 } as const;
const VGA = {
  PORTS: 0x3b0,
  PORT_COUNT: 0x30,
  MEMORY: 0xa0000,
  MEMORY_SIZE: 0x20000,
  DISPI: 0x1ce,
  DISPI_COUNT: 4,
} as const;

/** Display adapter as the machine needs it: ports from 3B0h and 1CEh, memory from A0000h, and what PCI places. */
export interface PcVideo extends VgaWindows {
  readonly ports: PortDevice;
  readonly memory: MmioDevice;
  readonly dispiPorts: PortDevice;
  reset(): void;
}

/** What a PC is built from. */
export interface PcOptions {
  readonly bus: IoBus;
  readonly memory: GuestMemory;
  readonly clock: Clock;
  /** INTR of the processor. */
  readonly intr: InterruptLine;
  /** Told when the gate of address line 20 opens (true, as after a reset) or closes. */
  readonly a20: InterruptLine;
  /** What of the first megabyte is RAM or ROM. */
  readonly shadow: ShadowControl;
  /** The processor's reset line was pulsed, through port 64h, 92h or CF9h; `hard`: the reset of everything, through CF9h. */
  readonly reset: (hard: boolean) => void;
  /** Sleeping states; the machine has no ACPI where this is left out. */
  readonly power?: { sleep(state: SleepState): void; wake(state: SleepState): void } | undefined;
  /** The processor's local APIC; with it comes an I/O APIC. */
  readonly apic?: LocalApic | undefined;
  /** High precision event timers are there. */
  readonly hpet?: boolean;
  /** Up to two drives; a drive may be empty. */
  readonly floppies: readonly FloppyDrive[];
  /** hda to hdd: disks and CD drives. */
  readonly units: readonly (IdeUnit | undefined)[];
  /** Transmitted bytes of COM1–COM4; a port without a sink is not there. */
  readonly serial: readonly (ByteSink | undefined)[];
  /** Layout of the keyboard that text is typed on. */
  readonly keymap?: KeymapName;
  /** Registers of the processor, for VMware's backdoor; without them there is none. */
  readonly registers?: ProcessorRegisters;
  readonly vga: PcVideo & Partial<Stateful<unknown>>;
  /** The display's BIOS, for its expansion ROM. */
  readonly vgaRom?: Uint8Array;
  /** What a firmware configuration device has for firmware that knows one; without it there is no such device. */
  readonly firmwareItems?: Pick<FwCfgDeps, "items" | "files">;
  /** Messages of firmware, on port 402h. */
  readonly firmwareDebug?: ByteSink;
  /** Bytes written to port E9h. */
  readonly debug?: ByteSink;
  /** Added to the wall clock, ms: the guest's idea of local time. */
  readonly wallOffsetMs?: number;
  /** Default: floppy, then disk. */
  readonly bootOrder?: readonly BootDevice[];
  /** Timer ticks that are made up for when the host comes late: see `Pit8254Deps`. */
  readonly maxCatchUp?: number;
}

/** A PC: its devices by name. */
export interface Pc {
  readonly pic: Pic8259;
  readonly pit: Pit8254;
  readonly rtc: Mc146818;
  readonly dma: Dma8237;
  readonly controller: I8042;
  readonly keyboard: Ps2Keyboard;
  readonly mouse: Ps2Mouse;
  /** The absolute pointer of VMware's backdoor, where that is. */
  readonly pointer: VmMouse | undefined;
  /** Types text on the keyboard. */
  readonly typist: Typist;
  /** COM1–COM4; undefined where there is none. */
  readonly uarts: readonly (Uart16550 | undefined)[];
  readonly fdc: Fdc82077;
  readonly ide: readonly IdeChannel[];
  readonly a20: A20Gate;
  readonly post: PostPort;
  readonly pci: PciBus;
  /** ACPI's registers, where there are any. */
  readonly pm: AcpiPm | undefined;
  /** Coprocessor errors, to IRQ 13. */
  readonly ferr: FerrLatch;
  /** Everything with a state, in an order that fits `restore`: the interrupt controller before what drives its lines. */
  readonly devices: readonly (readonly [name: string, device: Stateful<unknown>])[];
  /** Reset every device, display included. */
  reset(): void;
  /** Suspend to RAM: devices are without power, but for those that can wake the machine. */
  powerDown(): void;
  /** Reset every device on the way out of a suspend to RAM, and leave word of it to the firmware. */
  resume(): void;
}

/** Where firmware looks for its configuration device, once the host bridge has told that there is one. */
const FW_CFG_PORTS = { SELECTOR: 0x510, DMA: 0x514 } as const;
const QEMU_SUBSYSTEM = { vendor: 0x1af4, device: 0x1100 } as const;

const NO_SINK: ByteSink = { write() {} };

/** The part of a device that begins `shift` ports after its first. */
function shifted(device: PortDevice, shift: number): PortDevice {
  return {
    read: (offset: number, size: AccessSize): number => device.read(offset + shift, size),
    write: (offset: number, size: AccessSize, value: number): void => device.write(offset + shift, size, value),
  };
}

const isStateful = (device: PcVideo & Partial<Stateful<unknown>>): device is PcVideo & Stateful<unknown> =>
  device.state !== undefined && device.restore !== undefined;

/** Build the devices, claim their ports and memory, and fill in CMOS. Throws VmxonError("config") when a claim overlaps. */
export function createPc(options: PcOptions): Pc {
  const { bus, clock, memory, vga } = options;
  const { apic } = options;
  const ioApic = apic && new IoApic({ ...IO_APIC, send: (message) => apic.receive(message) });
  const pic: Pic8259 = new Pic8259({
    intr: options.intr,
    input: (irq, level) => ioApic?.setInput(gsiOf(irq), level),
    acknowledged: (irq) => {
      if (irq === IRQ.TIMER) pit.acknowledged();
    },
  });
  const timerLine = new LineSelector(pic.line(IRQ.TIMER));
  const clockLine = new LineSelector(pic.line(IRQ.RTC));
  const pit: Pit8254 = new Pit8254({
    clock,
    irq0: timerLine.first,
    ...(options.maxCatchUp !== undefined && { maxCatchUp: options.maxCatchUp }),
  });
  const rtc = new Mc146818({
    clock,
    irq8: {
      set: (level) => {
        clockLine.first.set(level);
        if (level) chipset.pm?.alarm();
      },
    },
    wallOffsetMs: options.wallOffsetMs ?? 0,
  });
  if (apic && ioApic) {
    apic.onEoi = (vector) => ioApic.endOfInterrupt(vector);
    apic.onAcknowledge = (vector) => {
      if (ioApic.leads(TIMER_GSI, vector)) pit.acknowledged();
    };
    bus.claimMmio({ name: "ioapic", base: IO_APIC.base, size: IO_APIC_SIZE, device: ioApic });
  }
  const hpet = options.hpet
    ? new Hpet({
        clock,
        route: (input, level) => ioApic?.setInput(input, level),
        legacy: (timer, level) => (timer === 0 ? timerLine : clockLine).second.set(level),
        replace: (replaced) => {
          for (const line of [timerLine, clockLine]) line.replace(replaced);
        },
      })
    : undefined;
  if (hpet) bus.claimMmio({ name: "hpet", base: HPET_BASE, size: HPET_SIZE, device: hpet });
  const dma = new Dma8237({ memory });
  const a20 = new A20Gate(options.a20);
  const keyboard = new Ps2Keyboard({ clock, activity: () => chipset.pm?.attention() });
  const mouse = new Ps2Mouse({ clock });
  const controller = new I8042({
    clock,
    irq1: pic.line(IRQ.KEYBOARD),
    irq12: pic.line(IRQ.MOUSE),
    a20,
    reset: () => options.reset(false),
    keyboard,
    mouse,
  });
  const pointer = options.registers && new VmMouse({ registers: options.registers, nudge: () => mouse.nudge() });
  if (pointer) bus.claimPorts({ ...BACKDOOR, device: pointer, usesRegisters: true });
  const typist = new Typist({ clock, keyboard, keymap: keymapOf(options.keymap ?? DEFAULT_KEYMAP) });
  const portA = new PortA({ a20, reset: () => options.reset(false) });
  const portB = new PortB({ clock, pit });
  const post = new PostPort();
  const ferr = new FerrLatch({ irq: pic.line(IRQ.FERR) });
  const fdc = new Fdc82077({
    clock,
    irq6: pic.line(IRQ.FLOPPY),
    dma: dma.channel(FLOPPY_DMA),
    drives: options.floppies,
  });
  const ide = IDE.map(
    ({ irq }, i) => new IdeChannel({ clock, irq: pic.line(irq), memory, units: options.units.slice(2 * i, 2 * i + 2) }),
  );
  const chipset: Chipset = createChipset({
    bus,
    clock,
    shadow: options.shadow,
    memory: memory.size,
    irq: (irq) => pic.line(irq),
    engines: ide.map(({ busMaster }) => busMaster),
    reset: options.reset,
    power: options.power,
    subsystem: options.firmwareItems && QEMU_SUBSYSTEM,
  });
  const fwCfg = options.firmwareItems && new FwCfg({ memory, ...options.firmwareItems });
  const uarts = SERIAL.map(({ irq }, i) => {
    const sink = options.serial[i];
    return sink && new Uart16550({ clock, irq: pic.line(irq), sink });
  });

  /** Byte-wide devices: name, first port, number of ports. */
  const ports: readonly (readonly [string, number, number, PortDevice])[] = [
    ["dma1", 0x00, 0x10, dma.first],
    ["pic1", 0x20, 2, pic.master],
    ["pit", 0x40, 4, pit],
    ["i8042", 0x60, 1, controller.data],
    ["port61", 0x61, 1, portB],
    ["i8042", 0x64, 1, controller.control],
    ["rtc", 0x70, 2, rtc],
    ["post", 0x80, 1, post],
    ["dma-page", 0x81, 15, dma.pages],
    ["port92", 0x92, 1, portA],
    ["pic2", 0xa0, 2, pic.slave],
    ["dma2", 0xc0, 0x20, dma.second],
    ["ferr", 0xf0, 2, ferr],
    ["debug", 0xe9, 1, new DebugPort(options.debug ?? NO_SINK)],
    ["firmware-debug", 0x402, 1, new DebugPort(options.firmwareDebug ?? NO_SINK)],
    ["fdc", 0x3f0, 6, fdc],
    ["fdc", 0x3f7, 1, shifted(fdc, 7)],
    ["elcr", 0x4d0, 2, pic.elcr],
    ...IDE.map(({ name, control }, i) => [name, control, 1, ide[i]!.control] as const),
    ...SERIAL.flatMap(({ name, base }, i) => (uarts[i] ? [[name, base, 8, uarts[i]] as const] : [])),
  ];
  for (const [name, base, count, device] of ports) bus.claimPorts({ name, base, count, device, width: 1 });
  IDE.forEach(({ name, base }, i) => {
    bus.claimPorts({ name, base, count: 8, device: ide[i]! });
  });
  bus.claimPorts({ name: "vga", base: VGA.PORTS, count: VGA.PORT_COUNT, device: vga.ports });
  bus.claimMmio({ name: "vga", base: VGA.MEMORY, size: VGA.MEMORY_SIZE, device: vga.memory });
  bus.claimPorts({ name: "vga", base: VGA.DISPI, count: VGA.DISPI_COUNT, device: vga.dispiPorts, width: 2 });
  if (fwCfg) {
    bus.claimPorts({ name: "fw-cfg", base: FW_CFG_PORTS.SELECTOR, count: 2, device: fwCfg.ports, width: 2 });
    bus.claimPorts({ name: "fw-cfg-dma", base: FW_CFG_PORTS.DMA, count: 8, device: fwCfg.dma });
  }

  fillCmos(rtc, {
    memory: memory.size,
    floppies: options.floppies,
    units: options.units,
    bootOrder: options.bootOrder ?? ["floppy", "disk"],
  });

  const devices: (readonly [string, Stateful<unknown>])[] = [
    ...(apic && ioApic ? [["apic", apic] as const, ["ioapic", ioApic] as const] : []),
    ["pic", pic],
    ["timer-line", timerLine],
    ["clock-line", clockLine],
    ["pit", pit],
    ["rtc", rtc],
    ...(hpet ? [["hpet", hpet] as const] : []),
    ["dma", dma],
    ["a20", a20],
    ["port61", portB],
    ["port92", portA],
    ["post", post],
    ["ferr", ferr],
    ["i8042", controller],
    ["keyboard", keyboard],
    ["mouse", mouse],
    ["typist", typist],
    ...(pointer ? [["vmmouse", pointer] as const] : []),
    ["fdc", fdc],
    ...IDE.map(({ name }, i) => [name, ide[i]!] as const),
    ...SERIAL.flatMap(({ name }, i) => (uarts[i] ? [[name, uarts[i]] as const] : [])),
  ];
  devices.push(...chipset.devices, ["vga-pci", new VgaPci({ pci: chipset.pci, vga, rom: options.vgaRom })]);
  if (isStateful(vga)) devices.push(["vga", vga]);
  if (fwCfg) devices.push(["fw-cfg", fwCfg]);
  const resetAll = (except: ReadonlySet<unknown>): void => {
    for (const [, device] of devices) if (!except.has(device)) device.reset();
    if (!isStateful(vga)) vga.reset();
  };

  return {
    pic,
    pit,
    rtc,
    dma,
    controller,
    keyboard,
    mouse,
    pointer,
    typist,
    uarts,
    fdc,
    ide,
    a20,
    post,
    ferr,
    devices,
    pci: chipset.pci,
    pm: chipset.pm,
    reset: () => resetAll(new Set()),
    powerDown: () => resetAll(new Set([rtc, chipset.pm])),
    resume(): void {
      resetAll(new Set([rtc, chipset.pm]));
      chipset.pm?.resume();
      rtc.setCmos(CMOS_S3_RESUME.index, CMOS_S3_RESUME.value);
    },
  };
}
