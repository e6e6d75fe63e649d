/** Puts a machine together: hypervisor, devices, firmware and media of one domain. What the domain class drives. */
import { createPc, type PcOptions } from "../devices/pc.ts";
import { Vga, VIDEO_MEMORY_SIZE } from "../devices/vga/vga.ts";
import { romBios } from "../firmware/rombios/rom.ts";
import { vgaBios } from "../firmware/vgabios/rom.ts";
import { buildMemoryMap, loadFirmware } from "../firmware/vmxloader.ts";
import type { Disk, Display, FloppyDrive } from "../hypervisor/backend.ts";
import type { Clock } from "../hypervisor/clock.ts";
import { HvmDomain } from "../hypervisor/hvm-domain.ts";
import type { DomainProfile } from "../hypervisor/run-profile.ts";
import type { StopReason } from "../hypervisor/stop-reason.ts";
import { STATE_SIZE } from "../isa/state.ts";
import { DEFAULT_COMPILER } from "../processor/compiler/compiler.ts";
import type { RegionGenerator } from "../processor/compiler/generator.ts";
import { MACHINE, STATE } from "../processor/memory-map.ts";
import type { ResolvedConfig } from "./config.ts";
import type { ExitCount } from "./domain.ts";
import type { KernelLoader } from "./kernel.ts";
import type { KeyboardPort, KeyQueue } from "./keyboard.ts";
import type { LoadedKernel } from "./loader.ts";
import type { MousePort } from "./mouse.ts";
import { hashPlain } from "./state-hash.ts";

/** A running machine as the domain class sees it. */
export interface Machine {
  readonly clock: Clock;
  readonly display: Display;
  readonly keyboard: KeyboardPort;
  readonly keyQueue: KeyQueue;
  readonly mouse: MousePort;
  /** Bytes for the guest, one function for each serial port: it returns how many were taken. */
  readonly serialInputs: readonly ((bytes: Uint8Array) => number)[];
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
  /** See `Domain.stateHash`. */
  stateHash(): string;
}

export interface MachineOptions {
  readonly config: ResolvedConfig;
  readonly floppies: FloppyDrive[];
  readonly disks: (Disk | undefined)[];
  readonly loadKernel: KernelLoader | undefined;
  /** See {@link Host.generator}. */
  readonly generator?: RegionGenerator | undefined;
  /** A byte that the guest sent on a serial port. */
  transmit(port: number, byte: number): void;
  /** Called after every reset of the machine. */
  resetDone(): void;
}

/** KeyboardEvent code of the key that is no key of a PC's keyboard, but its power button. */
const POWER_KEY = "Power";

/** Where the BIOS keeps the position of the cursor: column, then row. */
const BDA_CURSOR = 0x450;

/** Shutdown status byte of CMOS, and the values with which the BIOS goes on where a program wants it. IBM AT BIOS. */
const CMOS_SHUTDOWN = 0x0f;
const RESUME_CODES: ReadonlySet<number> = new Set([0x05, 0x09, 0x0a]);

export function buildMachine(options: MachineOptions): Machine {
  const { config, floppies, disks, loadKernel } = options;
  const hvm = new HvmDomain({
    memory: config.memory,
    clock: config.clock,
    cpuModel: config.cpuModel,
    compiler: { ...DEFAULT_COMPILER, threshold: config.compileAfter, generator: options.generator },
    lockstep: config.lockstep,
    profile: config.profile,
    ...(config.startTime !== undefined && { wallTime: config.startTime }),
  });
  const memoryMap = buildMemoryMap(config.memory);
  const displayBios = vgaBios();
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
    power: config.acpi ? power : undefined,
    floppies,
    disks,
    serial: [0, 1].map((port) => ({ write: (byte: number) => options.transmit(port, byte) })),
    vga,
    vgaRom: displayBios.image,
    keymap: config.keymap,
    ...(config.vmmouse && { registers: hvm.registers }),
    wallOffsetMs: config.wallOffset,
    bootOrder: config.boot,
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
  const bios = romBios({
    floppies,
    disks,
    memoryMap,
    bootOrder: config.boot,
    powerOff: () => hvm.powerOff(),
    activity: { instructions: () => hvm.instructions(), displayGeneration: () => vga.guestGeneration },
    ...(loadKernel && { directBoot: () => enterKernel(loadKernel) }),
  });
  loadFirmware(hvm, [displayBios, bios]);
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
    stateHash: () =>
      hashPlain({
        time: hvm.clock.now(),
        vcpu: hvm.cpu.u8.subarray(STATE, STATE + STATE_SIZE),
        memory: hvm.cpu.u8.subarray(MACHINE, MACHINE + config.memory),
        devices: pc.devices.map(([name, device]) => [name, device.state()]),
      }),
  };
}
