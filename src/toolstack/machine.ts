/** Puts a machine together: hypervisor, devices, firmware and media of one domain. What the domain class drives. */
import { VmxonError } from "../common/errors.ts";
import { createPc, type PcOptions } from "../devices/pc.ts";
import { Vga, VIDEO_MEMORY_SIZE } from "../devices/vga/vga.ts";
import { firmwareItems } from "../firmware/fw-cfg-items.ts";
import { romBios } from "../firmware/rombios/rom.ts";
import type { Rom } from "../firmware/service.ts";
import { vgaBios } from "../firmware/vgabios/rom.ts";
import { buildMemoryMap, loadFirmware } from "../firmware/vmxloader.ts";
import type { CdMedium, Display, FloppyDrive, IdeUnit } from "../hypervisor/backend.ts";
import type { Clock } from "../hypervisor/clock.ts";
import type { Stateful } from "../hypervisor/device.ts";
import { HvmDomain, type HvmState, hvmStateProblem } from "../hypervisor/hvm-domain.ts";
import type { DomainProfile } from "../hypervisor/run-profile.ts";
import type { StopReason } from "../hypervisor/stop-reason.ts";
import { DEFAULT_COMPILER } from "../processor/compiler/compiler.ts";
import type { RegionGenerator } from "../processor/compiler/generator.ts";
import { vcpuState } from "../processor/vcpu-state.ts";
import { describeBoard } from "./board.ts";
import type { ResolvedConfig } from "./config.ts";
import type { ExitCount } from "./domain.ts";
import type { FirmwareFiles } from "./firmware.ts";
import { FirmwareLog } from "./firmware-log.ts";
import type { KernelLoader } from "./kernel.ts";
import type { KeyboardPort, KeyQueue } from "./keyboard.ts";
import type { LoadedKernel } from "./loader.ts";
import type { MousePort } from "./mouse.ts";
import { shapeProblem } from "./saved/shape.ts";
import { hashPlain } from "./state-hash.ts";

/** All of a machine that is not memory. */
export interface MachineState {
  hvm: HvmState;
  /** By name, in the order in which they are restored. */
  devices: Record<string, unknown>;
  /** What the next reset is: of the processor alone, or on the way out of a suspend to RAM. */
  reset: { processorOnly: boolean; resuming: boolean };
}

/** A running machine as the domain class sees it. */
export interface Machine {
  readonly clock: Clock;
  readonly display: Display;
  readonly keyboard: KeyboardPort;
  readonly keyQueue: KeyQueue;
  readonly mouse: MousePort;
  /** Bytes for the guest, one function for each serial port: it returns how many were taken. */
  readonly serialInputs: readonly ((bytes: Uint8Array) => number)[];
  /** Trays of the CD drives among hda to hdd, by number. */
  readonly trays: readonly (CdTray | undefined)[];
  /** Resolves when the guest stops. May be called again after `reset`. */
  run(): Promise<StopReason>;
  pause(): void;
  resume(): void;
  reset(): void;
  /** Without ACPI there is none. */
  powerButton(): void;
  destroy(): void;
  exitCounts(): ExitCount[];
  instructions(): number;
  profile(): DomainProfile | undefined;
  /** See `Domain.firmwareLog`. */
  firmwareLog(): string;
  /** See `Domain.stateHash`. */
  stateHash(): string;
  /** Have it stand still where its state can be taken; resolves with what lets it go on. See `HvmDomain.hold`. */
  hold(): Promise<() => void>;
  /** RAM, and what shadows ROM. */
  readonly ram: Uint8Array;
  /** Hashes of its ROM images, by name: their services must be those that a saved domain was running. */
  readonly roms: Readonly<Record<string, string>>;
  /** While it is held, or before it has run. */
  state(): MachineState;
  /**
   * Put a machine that has not run yet into a state; {@link ram} holds what it held. Throws VmxonError("state") that names
   * what does not fit.
   */
  restore(state: unknown): void;
}

/** The tray of a CD drive, as seen from outside. */
export interface CdTray {
  /** The guest keeps the disc in. */
  readonly locked: boolean;
  /** Press the button: true when the tray opened; a guest that has locked it is told of the wish. */
  pressEject(): boolean;
  /** Open it, lock or not. */
  openTray(): void;
  closeTray(medium: CdMedium | undefined): void;
}

export interface MachineOptions {
  readonly config: ResolvedConfig;
  readonly floppies: FloppyDrive[];
  /** hda, hdb, hdc, hdd. */
  readonly units: readonly (IdeUnit | undefined)[];
  readonly loadKernel: KernelLoader | undefined;
  readonly firmware: FirmwareFiles;
  /** See {@link Host.generator}. */
  readonly generator?: RegionGenerator | undefined;
  /** A byte that the guest sent on a serial port. */
  transmit(port: number, byte: number): void;
  /** Called after every reset of the machine. */
  resetDone(): void;
}

/** KeyboardEvent code of the key that is no key of a PC's keyboard, but its power button. */
const POWER_KEY = "Power";

/** End of the address space, below which a BIOS from a file ends, and where option ROMs begin. */
const TOP = 2 ** 32;
const OPTION_ROM = 0xc0000;

/** Where the BIOS keeps the position of the cursor: column, then row. */
const BDA_CURSOR = 0x450;

/** Shutdown status byte of CMOS, and the values with which the BIOS goes on where a program wants it. IBM AT BIOS. */
const CMOS_SHUTDOWN = 0x0f;
const RESUME_CODES: ReadonlySet<number> = new Set([0x05, 0x09, 0x0a]);

function restoreDevice(name: string, device: Stateful<unknown>, state: unknown): void {
  try {
    device.restore(state);
  } catch (cause) {
    const what = cause instanceof Error ? cause.message : String(cause);
    throw new VmxonError("state", `the saved state of ${name} does not fit: ${what}`, { cause });
  }
}

export function buildMachine(options: MachineOptions): Machine {
  const { config, firmware, floppies, units, loadKernel } = options;
  const disks = units.map((unit) => (unit?.kind === "disk" ? unit : undefined));
  const hvm = new HvmDomain({
    memory: config.memory,
    clock: config.clock,
    apic: config.apic,
    cpuModel: config.cpuModel,
    compiler: { ...DEFAULT_COMPILER, threshold: config.compileAfter, generator: options.generator },
    lockstep: config.lockstep,
    profile: config.profile,
    ...(config.startTime !== undefined && { wallTime: config.startTime }),
  });
  const board = describeBoard(config, [true, true]);
  const memoryMap = buildMemoryMap(config.memory, board);
  const displayBios: Rom = firmware.vgaBios
    ? { name: "vgabios", base: OPTION_ROM, image: firmware.vgaBios, services: new Map() }
    : vgaBios();
  const log = new FirmwareLog();
  const vga = new Vga({ clock: hvm.clock, memory: hvm.deviceMemory(VIDEO_MEMORY_SIZE) });
  const power: NonNullable<PcOptions["power"]> = {
    sleep: (state) => {
      if (state === "S5") {
        hvm.powerOff();
        return;
      }
      hvm.suspend();
      if (state === "S3") pc.powerDown();
    },
    wake: (state) => {
      resuming = state === "S3";
      if (resuming) hvm.reset();
      else hvm.wakeUp();
    },
  };
  const pc = createPc({
    bus: hvm.bus,
    memory: hvm.memory,
    clock: hvm.clock,
    intr: hvm.intr,
    a20: { set: (level) => hvm.setA20(level) },
    shadow: hvm.physical,
    reset: (hard) => guestReset(hard),
    apic: hvm.apic,
    hpet: config.hpet,
    power: config.acpi ? power : undefined,
    floppies,
    units,
    serial: [0, 1].map((port) => ({ write: (byte: number) => options.transmit(port, byte) })),
    vga,
    // The Bochs BIOS reads a display's expansion ROM in a way that works on Bochs alone: others find it at C0000h.
    ...(!firmware.bios && { vgaRom: displayBios.image }),
    keymap: config.keymap,
    ...(config.vmmouse && { registers: hvm.registers }),
    wallOffsetMs: config.wallOffset,
    bootOrder: config.boot,
    debug: log,
    firmwareDebug: log,
    ...(firmware.bios && { firmwareItems: firmwareItems(board, config.bootMenuMs, displayBios.image) }),
  });
  hvm.setInterruptController(pc.pic);
  hvm.onFerr = () => pc.ferr.raise();
  hvm.onTripleFault = () => guestReset(false);

  // Programs written for the 286 reset the processor to leave protected mode, and say in CMOS that they want to go on.
  let processorOnly = false;
  let rebooted = false;
  let resuming = false;
  const guestReset = (hard: boolean): void => {
    processorOnly = !hard && RESUME_CODES.has(pc.rtc.getCmos(CMOS_SHUTDOWN));
    rebooted = !processorOnly && config.onReboot === "destroy";
    if (rebooted) hvm.destroy();
    else hvm.reset();
  };

  const place = (load: KernelLoader, column: number, row: number): LoadedKernel =>
    load({ memoryMap, cursor: { column, row }, disks: disks.map((disk) => disk?.geometry) });
  // Once now, so that a kernel that does not fit is refused before anything runs.
  if (loadKernel) place(loadKernel, 0, 0);
  const enterKernel = (load: KernelLoader): void => {
    const { state, writes } = place(load, hvm.memory.read8(BDA_CURSOR), hvm.memory.read8(BDA_CURSOR + 1));
    hvm.setA20(true);
    for (const { gpa, bytes } of writes) hvm.memory.write(gpa, bytes);
    hvm.enter(state);
  };
  const trays = units.map((_, i) => pc.ide[i >> 1]?.cdrom(i & 1)?.packets);
  const builtIn = (): Rom =>
    romBios({
      floppies,
      units,
      memoryMap,
      board,
      bootMenuMs: config.bootMenuMs,
      powerOff: () => hvm.powerOff(),
      eject: (position) => trays[position]?.openTray(),
      activity: { instructions: () => hvm.instructions(), displayGeneration: () => vga.guestGeneration },
      ...(loadKernel && { directBoot: () => enterKernel(loadKernel) }),
    });
  if (firmware.bios) {
    hvm.addRom({ name: "bios", base: TOP - firmware.bios.length, image: firmware.bios, services: new Map() });
    loadFirmware(hvm, [displayBios]);
  } else loadFirmware(hvm, [displayBios, builtIn()]);
  hvm.initialState = { mode: "real" };
  hvm.onReset = () => {
    if (resuming) pc.resume();
    else if (!processorOnly) pc.reset();
    // Firmware must find itself wherever the gate was left.
    else pc.a20.reset();
    processorOnly = false;
    resuming = false;
    options.resetDone();
  };

  const state = (): MachineState => ({
    hvm: hvm.state(),
    devices: Object.fromEntries(pc.devices.map(([name, device]) => [name, device.state()])),
    reset: { processorOnly, resuming },
  });
  const restore = (saved: MachineState): void => {
    hvm.restore(saved.hvm, () => {
      for (const [name, device] of pc.devices) restoreDevice(name, device, saved.devices[name]);
    });
    ({ processorOnly, resuming } = saved.reset);
    for (const [name, device] of pc.devices) {
      if (hashPlain(device.state()) !== hashPlain(saved.devices[name]))
        throw new VmxonError("state", `the saved state of ${name} is none that it can have`);
    }
  };

  const powerButton = (): void => pc.pm?.pressPowerButton();
  return {
    clock: hvm.clock,
    display: vga,
    keyboard: { key: (code, down) => (code === POWER_KEY ? down && powerButton() : pc.keyboard.key(code, down)) },
    keyQueue: {
      get pending() {
        return pc.typist.pending;
      },
      type: (text) => pc.typist.type(text),
      press: (codes) => (codes.includes(POWER_KEY) ? powerButton() : pc.typist.press(codes)),
    },
    mouse: {
      get absolute() {
        return pc.pointer?.absolute ?? false;
      },
      move: (dx, dy, dz, buttons) => pc.mouse.move(dx, dy, dz, buttons),
      moveTo: (x, y, dz, buttons) => pc.pointer?.moveTo(x, y, dz, buttons),
    },
    serialInputs: pc.uarts.map((uart) => (bytes: Uint8Array) => uart?.receive(bytes) ?? bytes.length),
    trays,
    async run() {
      const reason = await hvm.run();
      return rebooted ? { kind: "reboot", message: "the guest reset the machine" } : reason;
    },
    pause: () => hvm.pause(),
    resume: () => hvm.resume(),
    reset: () => hvm.reset(),
    powerButton,
    destroy: () => hvm.destroy(),
    exitCounts: () => hvm.exitCounts(),
    instructions: () => hvm.instructions(),
    profile: () => hvm.profile(),
    firmwareLog: () => log.text(),
    stateHash: () =>
      hashPlain({
        time: hvm.clock.now(),
        vcpu: vcpuState(hvm.processor),
        memory: hvm.ram,
        devices: pc.devices.map(([name, device]) => [name, device.state()]),
      }),
    hold: () => hvm.hold(),
    ram: hvm.ram,
    roms: Object.fromEntries(hvm.roms.map(({ name, image }) => [name, hashPlain(image)])),
    state,
    restore(saved) {
      const problem = shapeProblem(saved, state(), "");
      if (problem !== undefined)
        throw new VmxonError("state", `the saved domain does not fit this machine: ${problem}`);
      const checked = saved as MachineState;
      const wrong = hvmStateProblem(checked.hvm);
      if (wrong !== undefined) throw new VmxonError("state", `the saved domain has an impossible state: ${wrong}`);
      restore(checked);
    },
  };
}
