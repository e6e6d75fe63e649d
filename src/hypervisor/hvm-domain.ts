/**
 * A fully virtualized domain: one vCPU, its memory, its buses and its clock, and the loop that runs it: enter the guest,
 * handle the exit, deliver interrupts, yield to the host, sleep while the guest halts.
 */
import { VmxonError } from "../common/errors.ts";
import { EFLAGS } from "../isa/flags.ts";
import { GPR, SEG } from "../isa/state.ts";
import { type CompilerOptions, DEFAULT_COMPILER } from "../processor/compiler/compiler.ts";
import { type Cpu, WORD } from "../processor/cpu.ts";
import { EXIT, EXIT_NAMES, INTERRUPTION, PROC, PROC2 } from "../processor/exits.ts";
import {
  DEVICE_MEMORY,
  MACHINE,
  MAX_RAM,
  PORT_BYTES,
  PORT_CLASS,
  PORT_COUNT,
  PORT_KIND,
} from "../processor/memory-map.ts";
import { PAGE_ACCESS } from "../processor/paging.ts";
import { Processor } from "../processor/processor.ts";
import { BLOCKING, CR0, VECTOR } from "../processor/registers.ts";
import { restoreVcpu, type VcpuState, vcpuState, vcpuStateProblem } from "../processor/vcpu-state.ts";
import type { Timer } from "./clock.ts";
import { type CpuModelName, cpuIdentity, DEFAULT_CPU_MODEL } from "./cpuid.ts";
import {
  type DeviceMemory,
  type GuestMemory,
  type InterruptController,
  type InterruptLine,
  type MmioDevice,
  OVER_RAM,
  type ProcessorRegisters,
} from "./device.ts";
import { DomainDeviceMemory, MachineMemory, PrivateDeviceMemory } from "./device-memory.ts";
import { DirectWindow } from "./direct-window.ts";
import {
  type ClockState,
  type DomainClock,
  InstructionClock,
  LAST_DATE,
  LAST_TIME,
  RealClock,
} from "./domain-clock.ts";
import { DomainMemory } from "./domain-memory.ts";
import { EXIT_HANDLERS } from "./exit-handlers.ts";
import type { FirmwareCpu } from "./firmware-cpu.ts";
import { FirmwareRegisters } from "./firmware-registers.ts";
import type { Lasting, Rom, ServiceContext } from "./firmware-service.ts";
import type { InitialState } from "./initial-state.ts";
import { InlineAccesses } from "./inline-ports.ts";
import { DomainIoBus } from "./io-bus.ts";
import { APIC_SIZE, LocalApic } from "./local-apic.ts";
import { Lockstep } from "./lockstep.ts";
import { type ApicMsrs, timeStamp } from "./msrs.ts";
import { PhysicalMap } from "./physical-map.ts";
import { type DomainProfile, RunProfile } from "./run-profile.ts";
import type { StopReason } from "./stop-reason.ts";

const PAGE = 4096;
/** Between RAM and RAM: the display's memory, and ROM. The machine memory that RAM would take there is SMRAM and shadow RAM. */
const HOLE = { start: 0xa0000, rom: 0xc0000, end: 0x100000 } as const;
/** Where ROM ends at the top of the address space, and how much of it is seen below 1 MB as well (82371SB 3.1.10). */
const ROM_TOP = 2 ** 32;
const LOW_ROM = 0x20000;
/** Host ms that the guest runs before the event loop gets its turn. */
const SLICE_MS = 8;
/** Entries into the guest between two looks at the host's clock, which is dear; so many port accesses count as one. */
const ENTRIES = 64;
const ACCESSES_AN_ENTRY = 4;
/** Basic exit reasons are below this; the upper bits of a reason say how it came about. */
const EXIT_REASONS = 64;
const REASON_MASK = EXIT_REASONS - 1;
/** Type of an NMI in event injection (SDM 3C 25.8.3), and instructions between two tries while one is being served. */
const NMI_TYPE = 2;
const NMI_POLL = 100;
/** Family in a signature; those before this one have no IA32_APIC_BASE. */
const FAMILY_SHIFT = 8;
const FAMILY_MASK = 0xf;
const FIRST_APIC_BASE = 6;
const DEFAULT_WALL_TIME = Date.UTC(2026, 0, 1);

export interface HvmDomainOptions {
  /** Bytes of RAM, a multiple of 4 KB up to 1952 MB. */
  readonly memory: number;
  readonly clock: "real" | "instructions";
  /** Wall-clock time at creation, ms since the epoch. Default: the host's, or 2026-01-01 under the instruction clock. */
  readonly wallTime?: number;
  /** How guest code is compiled; default {@link DEFAULT_COMPILER}. */
  readonly compiler?: CompilerOptions;
  /** What CPUID tells, and which instructions there are. Default: everything that is implemented. */
  readonly cpuModel?: CpuModelName;
  /** Stop at the first difference between compiled code and the interpreter: see `lockstep.ts`. */
  readonly lockstep?: boolean;
  /** A local APIC, where the model has one. Default: none. */
  readonly apic?: boolean;
  /** Measure where time goes, at some cost: see {@link HvmDomain.profile}. */
  readonly profile?: boolean;
}

/** Vcpu, clock and run state of a saved domain. Memory and devices are saved beside it. */
export interface HvmState {
  vcpu: VcpuState;
  clock: ClockState;
  /** The vCPU waits for an interrupt. */
  halted: boolean;
  /** It was stopped by {@link HvmDomain.suspend}. */
  asleep: boolean;
  /** The reset line was pulsed, and nothing came of it yet. */
  resetWanted: boolean;
}

/** What of a state of the right form has a value that cannot be; undefined when nothing has. */
export function hvmStateProblem({ vcpu, clock }: HvmState): string | undefined {
  if (!(clock.now >= 0 && clock.now <= LAST_TIME)) return `clock.now is ${clock.now}`;
  if (!(Math.abs(clock.origin) <= LAST_DATE)) return `clock.origin is ${clock.origin}`;
  for (const timer of clock.timers) {
    if (typeof timer?.number !== "number" || typeof timer.deadline !== "number")
      return "clock.timers holds what is no timer";
  }
  const problem = vcpuStateProblem(vcpu);
  return problem === undefined ? undefined : `vcpu.${problem}`;
}

/** Somebody who wants the domain to stand still. */
interface Hold {
  reached(): void;
  /** The domain stopped for good before. */
  missed(): void;
  readonly released: Promise<void>;
}

export class HvmDomain {
  readonly memory: GuestMemory;
  readonly bus: DomainIoBus;
  /** What stands where in guest-physical memory. */
  readonly physical: PhysicalMap;
  readonly clock: DomainClock;
  readonly cpu: Cpu;
  readonly processor: Processor;
  readonly cpuModel: CpuModelName;
  /** The vCPU's local APIC, and the MSRs by which the model reaches it. */
  readonly apic: LocalApic | undefined;
  readonly apicMsrs: ApicMsrs | undefined;
  /** The vCPU's INTR pin; that of its local APIC, LINT0, where there is one. */
  readonly intr: InterruptLine;
  /** Called on every reset, after memory and vCPU and before the first instruction. */
  onReset: (() => void) | undefined;
  /** The processor shut down: a PC's chipset answers that with a reset (286 software leaves protected mode that way). */
  onTripleFault: () => void = () => this.reset();
  /** The processor's FERR# output: an x87 error while CR0.NE is clear. */
  onFerr: () => void = () => {};
  /** Characters that the guest writes with VMCALL. */
  console: (character: number) => void = () => {};
  initialState: InitialState = { mode: "real" };

  #controller: InterruptController | undefined;
  #roms: Rom[] = [];
  readonly #counts = new Float64Array(EXIT_REASONS);
  #stop: StopReason | undefined;
  #paused = false;
  #halted = false;
  #asleep = false;
  #started = false;
  #resetWanted = false;
  /** A firmware service or the clock waits for the host. */
  #waiting: Promise<unknown> | undefined;
  /** A firmware service lasts: the vCPU stands still, and guest time goes on. */
  #lasting: Lasting | undefined;
  readonly #lastingEnd: Timer;
  #hold: Hold | undefined;
  /** It stands still for {@link #hold}. */
  #standing = false;
  /** Ends the current sleep, if the loop sleeps. */
  #wake: (() => void) | undefined;
  readonly #registers: FirmwareRegisters;
  readonly #inline: InlineAccesses;
  readonly #lockstep: Lockstep | undefined;
  readonly #machine: MachineMemory;
  readonly #windows = new Map<MmioDevice, DirectWindow>();
  readonly #profile: RunProfile | undefined;

  constructor(options: HvmDomainOptions) {
    if (options.memory > MAX_RAM || options.memory % PAGE !== 0 || options.memory < 1 << 16) {
      throw new VmxonError(
        "config",
        `memory of ${options.memory} bytes: give a multiple of 4 KB from 64 KB to ${MAX_RAM >> 20} MB`,
      );
    }
    this.bus = new DomainIoBus();
    this.cpuModel = options.cpuModel ?? DEFAULT_CPU_MODEL;
    const processorOptions = {
      machineBytes: Math.max(options.memory, HOLE.end) + DEVICE_MEMORY,
      bus: this.bus,
      ...cpuIdentity(this.cpuModel),
      compiler: { ...(options.compiler ?? DEFAULT_COMPILER), profile: options.profile === true },
    };
    this.#profile = options.profile ? new RunProfile() : undefined;
    this.#lockstep = options.lockstep ? new Lockstep(processorOptions) : undefined;
    this.processor = this.#lockstep?.processor ?? new Processor(processorOptions);
    this.cpu = this.processor.cpu;
    this.memory = new DomainMemory(this.cpu, this.bus, options.memory);
    this.clock =
      options.clock === "real"
        ? new RealClock(options.wallTime)
        : new InstructionClock(options.wallTime ?? DEFAULT_WALL_TIME);
    this.clock.onWake(() => this.#wake?.());
    this.#lastingEnd = this.clock.timer(() => {
      const lasting = this.#lasting;
      this.#lasting = undefined;
      lasting?.done();
    });
    const wake: InterruptLine = {
      set: (level) => {
        if (level) this.#wake?.();
      },
    };
    const identity = cpuIdentity(this.cpuModel);
    this.apic =
      options.apic && identity.has("apic")
        ? new LocalApic({
            clock: this.clock,
            timeStamp: () => timeStamp(this.cpu),
            intr: wake,
            place: (device) => this.bus.movableMmio({ name: "apic", size: APIC_SIZE, device }, OVER_RAM),
          })
        : undefined;
    const { apic } = this;
    const family = (identity.signature >> FAMILY_SHIFT) & FAMILY_MASK;
    if (apic && family >= FIRST_APIC_BASE) this.apicMsrs = { apic, deadline: identity.has("tsc_deadline") };
    this.intr = apic ? { set: (level) => apic.lint0Changed(level) } : wake;
    this.cpu.onFerr = () => this.onFerr();
    this.physical = new PhysicalMap(this.cpu, this.bus, options.memory);
    const devices = MACHINE + Math.max(options.memory, HOLE.end);
    this.#machine = new MachineMemory(devices, devices + DEVICE_MEMORY);
    this.cpu.setDeviceMemory(devices);
    this.bus.onPortsChanged = (base, count) => this.#classifyPorts(base, count);
    this.cpu.ticks = (pc) => {
      // The counter runs at 1 GHz.
      if (pc !== 0) this.#inline.catchUp(this.processor.instructionsAt(pc));
      return Math.round(this.clock.now());
    };
    this.cpu.tickRate = () => this.clock.tickRate();
    this.#inline = new InlineAccesses(this);
    this.cpu.inlinePorts = this.#inline;
    this.#registers = new FirmwareRegisters(this.cpu, (level) => this.setA20(level));
  }

  /** The vCPU's registers, for devices that are asked through them. */
  get registers(): ProcessorRegisters {
    return this.#registers;
  }

  /** What turns interrupt lines into vectors; none while the domain is being built. */
  get controller(): InterruptController | undefined {
    return this.#controller;
  }

  /** Something wants the run loop before the guest goes on. */
  get wanted(): boolean {
    if (this.#halted || this.#asleep || this.#waiting !== undefined || this.#lasting !== undefined) return true;
    return this.#stop !== undefined || this.#resetWanted || this.#paused || this.#hold !== undefined;
  }

  setInterruptController(controller: InterruptController): void {
    this.apic?.connect(controller);
    this.#controller = this.apic ?? controller;
  }

  /** Open or close the gate of address line 20. */
  setA20(level: boolean): void {
    const mask = level ? -1 : ~(1 << 20);
    if (this.cpu.get("a20Mask") === mask) return;
    this.cpu.set("a20Mask", mask);
    this.cpu.flushAll();
  }

  /**
   * Place a ROM image read-only at its base and serve its traps: an image below 1 MB, or one that ends at 4 GB, of which the
   * last 128 KB are then seen below 1 MB, too. What ends at 1 MB is also at the top of the address space, where the
   * processor starts. Throws VmxonError("firmware") when it does not fit.
   */
  addRom(rom: Rom): void {
    const bytes = Math.ceil(rom.image.length / PAGE) * PAGE;
    const end = rom.base + bytes;
    const low = rom.base >= HOLE.rom && end <= HOLE.end;
    if (rom.base % PAGE !== 0 || bytes === 0 || bytes > DEVICE_MEMORY || (!low && end !== ROM_TOP)) {
      throw new VmxonError(
        "firmware",
        `${rom.name}: a ROM image of ${rom.image.length} bytes does not fit at ${rom.base.toString(16)}h`,
      );
    }
    const machine = this.#machine.allocate(bytes);
    this.cpu.u8.fill(0xff, machine, machine + bytes);
    this.cpu.u8.set(rom.image, machine);
    this.physical.addRom(rom.base, bytes, machine);
    if (end === HOLE.end) this.physical.addRom(ROM_TOP - bytes, bytes, machine);
    if (end === ROM_TOP) {
      const seen = Math.min(bytes, LOW_ROM);
      this.physical.addRom(HOLE.end - seen, seen, machine + bytes - seen);
    }
    this.#roms.push(rom);
  }

  /** Memory for a device, in whole pages. Throws VmxonError("config") when there is no more. */
  deviceMemory(size: number): DeviceMemory {
    const bytes = Math.ceil(size / PAGE) * PAGE;
    // Lockstep's second vCPU could not follow what devices do to it.
    if (this.#lockstep) return new PrivateDeviceMemory(bytes);
    return new DomainDeviceMemory(this.cpu, this.#machine.allocate(bytes), bytes);
  }

  /** Put the vCPU into a state of the builder's: what a boot service calls to start a kernel directly. */
  enter(state: InitialState): void {
    const { cpu } = this;
    const a20 = cpu.get("a20Mask");
    cpu.reset();
    cpu.set("a20Mask", a20);
    this.#halted = false;
    this.#setControls();
    if (state.mode === "protected") {
      cpu.set("cr0", CR0.PE | CR0.ET | CR0.NE);
      const code = state.codeSelector ?? 0x10;
      const data = state.dataSelector ?? 0x18;
      cpu.setSegment(SEG.CS, code, 0, 0xffffffff, 0xc09b);
      for (const segment of [SEG.ES, SEG.SS, SEG.DS, SEG.FS, SEG.GS])
        cpu.setSegment(segment, data, 0, 0xffffffff, 0xc093);
      if (state.gdt) {
        cpu.set("gdtrBase", state.gdt.base);
        cpu.set("gdtrLimit", state.gdt.limit);
      }
    }
    for (const name of Object.keys(GPR) as (keyof typeof GPR)[]) {
      const value = state[name];
      if (value !== undefined) cpu.setGpr(GPR[name] >> 3, value);
    }
    if (state.eip !== undefined) cpu.set("eip", state.eip);
    cpu.updateMode();
  }

  #setControls(): void {
    const { cpu } = this;
    cpu.set("procControls", PROC.hlt | PROC.unconditionalIo | PROC.secondary);
    cpu.set("procControls2", PROC2.unrestrictedGuest);
  }

  /** The vCPU halts until an interrupt. */
  halt(): void {
    this.#halted = true;
  }

  /** The vCPU stops until {@link wakeUp} or a reset; interrupts wait. */
  suspend(): void {
    this.#asleep = true;
  }

  wakeUp(): void {
    this.#asleep = false;
    this.#wake?.();
  }

  pause(): void {
    this.#paused = true;
    // Whoever holds the domain has its last services come to an end.
    if (!this.#hold) this.clock.pause();
    this.#wake?.();
  }

  resume(): void {
    this.#paused = false;
    if (!this.#standing) this.clock.resume();
    this.#wake?.();
  }

  /** Stop for good. */
  destroy(): void {
    this.#finish({ kind: "destroyed", message: "the domain was destroyed" });
  }

  /** The guest switched the machine off. */
  powerOff(): void {
    this.#finish({ kind: "poweroff", message: "the guest switched the machine off" });
  }

  /** Pulse the reset line: the machine starts again at the next chance. */
  reset(): void {
    this.#resetWanted = true;
    this.#wake?.();
  }

  #finish(reason: StopReason): void {
    this.#stop ??= reason;
    this.#wake?.();
  }

  /** Exits by basic reason since the domain started, with their names. */
  exitCounts(): { reason: number; name: string; count: number }[] {
    return [...this.#counts.entries()]
      .filter(([, count]) => count > 0)
      .map(([reason, count]) => ({ reason, name: EXIT_NAMES[reason] ?? `reason ${reason}`, count }));
  }

  /** Guest instructions executed since power-on. */
  instructions(): number {
    return this.processor.instructions;
  }

  /**
   * Run the domain until it stops. May be called again after a stop other than "destroyed", once `reset` was called:
   * the machine then starts anew.
   */
  async run(): Promise<StopReason> {
    this.#stop = undefined;
    if (!this.#started) {
      this.#started = true;
      this.#powerOn();
    }
    while (!this.#stop) {
      const blocker = this.#waiting ?? this.clock.blocker;
      const hold = this.#hold;
      if (blocker && (hold || !this.#paused)) await this.#waitFor(blocker);
      else if (hold && !this.#lasting) await this.#stand(hold);
      else if (this.#paused && !hold) await this.#sleep(Number.POSITIVE_INFINITY);
      else {
        const idle = this.#guardedSlice();
        if (this.#stop) break;
        if (idle > 0) await this.#sleep(idle);
        else await yieldToHost();
      }
    }
    this.#hold?.missed();
    this.#hold = undefined;
    this.#lockstep?.finish();
    const difference = this.#lockstep?.difference;
    return difference === undefined ? this.#stop : { kind: "crash", message: `lockstep: ${difference}` };
  }

  /**
   * Have the running domain stand still between two instructions, with nothing in the air: firmware services are over, and
   * host work is done, though its outcome may wait for its hour. Resolves with what lets it go on; rejects with
   * VmxonError("guest") when it stops before.
   */
  hold(): Promise<() => void> {
    if (this.#hold) throw new VmxonError("usage", "the domain is held already");
    let release = (): void => {};
    const released = new Promise<void>((resolve) => {
      release = resolve;
    });
    return new Promise((resolve, reject) => {
      this.#hold = {
        reached: () => resolve(release),
        missed: () => reject(new VmxonError("guest", "the domain stopped")),
        released,
      };
      // A service that lasts goes on to its end.
      if (this.#lasting) this.clock.resume();
      this.#wake?.();
    });
  }

  async #stand(hold: Hold): Promise<void> {
    this.#standing = true;
    this.clock.pause();
    await this.clock.settled();
    hold.reached();
    await hold.released;
    this.#hold = undefined;
    this.#standing = false;
    if (!this.#paused) this.clock.resume();
  }

  /** The state of a domain that is held. */
  state(): HvmState {
    return {
      vcpu: vcpuState(this.processor),
      clock: this.clock.state(),
      halted: this.#halted,
      asleep: this.#asleep,
      resetWanted: this.#resetWanted,
    };
  }

  /**
   * Put a domain that has not run yet into a state. `devices` restores the devices, the chipset's decoding of memory among
   * them; the contents of memory are there already.
   */
  restore(state: HvmState, devices: () => void): void {
    this.#started = true;
    this.#attachDevices();
    this.clock.restore(state.clock);
    devices();
    this.clock.restoreTimers(state.clock);
    restoreVcpu(this.processor, state.vcpu);
    this.#setControls();
    this.#halted = state.halted;
    this.#asleep = state.asleep;
    this.#resetWanted = state.resetWanted;
  }

  /** RAM from guest-physical 0 on, with what of the first megabyte shadows ROM. */
  get ram(): Uint8Array {
    return this.cpu.u8.subarray(MACHINE, MACHINE + Math.max(this.memory.size, HOLE.end));
  }

  /** ROM images by name. */
  get roms(): readonly Rom[] {
    return this.#roms;
  }

  #powerOn(): void {
    this.processor.reset();
    this.apic?.reset();
    this.#setControls();
    this.#halted = false;
    this.#asleep = false;
    this.#waiting = undefined;
    this.#lasting = undefined;
    this.#lastingEnd.cancel();
    this.#attachDevices();
    this.onReset?.();
    if (this.initialState.mode === "protected") this.enter(this.initialState);
  }

  /** Tell the engine which ports it need not ask about, and devices what memory can do for them. */
  #attachDevices(): void {
    this.#classifyPorts(0, PORT_COUNT);
    if (this.#lockstep) return;
    for (const range of this.bus.mmioRanges()) {
      const { device, base, size } = range;
      if (!device.useDirect || base < HOLE.start || base + size > HOLE.rom) continue;
      let window = this.#windows.get(device);
      if (!window) {
        window = new DirectWindow(this.cpu, this.physical, range, this.#machine.allocate(size));
        this.#windows.set(device, window);
      }
      device.useDirect(window);
    }
  }

  #classifyPorts(base: number, count: number): void {
    const { u8 } = this.cpu;
    for (let port = base; port < base + count; port++) {
      const device = this.bus.deviceAt(port);
      let kind: number = PORT_KIND.device;
      if (!this.#inline.accepts(port)) kind = PORT_KIND.exit;
      // A second vCPU in lockstep can follow only what it is told.
      else if (!this.#lockstep && !device) kind = PORT_KIND.none;
      else if (!this.#lockstep && device?.keepIn) {
        kind = PORT_KIND.latch;
        device.keepIn(u8.subarray(PORT_BYTES + port, PORT_BYTES + port + 1));
      }
      u8[PORT_CLASS + port] = kind;
      if (kind === PORT_KIND.none) u8[PORT_BYTES + port] = 0xff;
    }
  }

  /** A defect of ours stops this domain, and neither the host nor another domain. */
  #guardedSlice(): number {
    try {
      return this.#slice();
    } catch (error) {
      const what = error instanceof Error ? error.message : String(error);
      this.#finish({ kind: "crash", message: `internal error: ${what}, at ${this.#where()}` });
      return 0;
    }
  }

  /** Run guest and timers for a stretch of host time; returns host ms to sleep, 0 to go on at once. */
  #slice(): number {
    const start = performance.now();
    const idle = this.#turns(start + SLICE_MS);
    this.#profile?.slice(performance.now() - start);
    return idle;
  }

  #turns(end: number): number {
    do {
      if (this.#resetWanted) {
        this.#resetWanted = false;
        this.#powerOn();
      }
      this.clock.fire();
      this.processor.compiler?.poll();
      if (this.#stop || this.#waiting || this.clock.blocker) return 0;
      if (this.#resetWanted) continue;
      if (this.#hold && !this.#lasting) return 0;
      if (!this.#asleep && !this.#lasting) this.#offerInterrupt();
      if (this.#halted || this.#asleep || this.#lasting) {
        const idle = this.clock.idle();
        if (idle > 0) return idle;
      } else {
        this.#enterGuest();
      }
      if (this.#stop || this.#waiting || this.clock.blocker || this.#paused) return 0;
    } while (performance.now() < end && !this.#stop);
    return 0;
  }

  #enterGuest(): void {
    const inline = this.#inline;
    for (let i = 0; i < ENTRIES; i += 1 + inline.served / ACCESSES_AN_ENTRY) {
      const { processor } = this;
      let budget = processor.alone ? 1 : Math.ceil(this.clock.budget());
      // No exit tells when the handler of the one before is over.
      if (this.#controller?.nmi) budget = Math.min(budget, NMI_POLL);
      const before = processor.instructions;
      this.cpu.i32[WORD.preemptionTimer] = budget;
      inline.begin(Math.ceil((ENTRIES - i) * ACCESSES_AN_ENTRY));
      // Devices see the time behind the instruction that reaches them.
      if (processor.alone) inline.catchUp(1);
      const reason = this.#run();
      processor.alone = false;
      inline.catchUp(processor.instructions - before);
      this.#counts[reason & REASON_MASK]!++;
      this.#counts[EXIT.ioInstruction]! += inline.served;
      if (this.#lockstep?.difference !== undefined) {
        this.#finish({ kind: "crash", message: "compiled code and the interpreter differ" });
        return;
      }
      if (!inline.ended) {
        const handler = EXIT_HANDLERS[reason];
        const problem = handler ? handler(this) : this.#unexpected(reason);
        if (problem !== undefined) {
          this.#finish({ kind: "crash", message: `${problem}, at ${this.#where()}` });
          return;
        }
      }
      if (this.wanted) return;
      if (this.clock.budget() <= 1 || reason === EXIT.preemptionTimer) return;
      this.#offerInterrupt();
    }
  }

  /** One stay in the guest; the exit reason. */
  #run(): number {
    if (this.#lockstep) return this.#lockstep.run();
    if (!this.#profile) return this.processor.run();
    const { processor } = this;
    const executed = processor.instructions;
    const compiled = processor.compiler?.executed ?? 0;
    const start = performance.now();
    const reason = processor.run();
    const time = performance.now() - start;
    const inRegions = (processor.compiler?.executed ?? 0) - compiled;
    this.#profile.stay(time, processor.instructions - executed - inRegions, inRegions);
    return reason;
  }

  /** Where time went so far; undefined unless the domain was made to measure it. */
  profile(): DomainProfile | undefined {
    return this.#profile?.result(this.processor.compiler?.profile());
  }

  /** Give the vCPU a pending interrupt, or ask to be told when it can take one. */
  #offerInterrupt(): void {
    const controller = this.#controller;
    if (!controller?.pending) return;
    if (controller.nmi && (this.#offerNmi(controller) || !controller.maskable)) return;
    const { cpu } = this;
    const open =
      (cpu.i32[WORD.eflags]! & EFLAGS.IF) !== 0 &&
      (cpu.i32[WORD.interruptibility]! & (BLOCKING.STI | BLOCKING.MOV_SS)) === 0 &&
      cpu.i32[WORD.pendingDebug]! === 0 &&
      !(cpu.i32[WORD.entryInterruptionInfo]! & INTERRUPTION.valid);
    if (!open) {
      cpu.i32[WORD.procControls] = cpu.i32[WORD.procControls]! | PROC.interruptWindow;
      return;
    }
    this.#halted = false;
    cpu.i32[WORD.entryInterruptionInfo] = INTERRUPTION.valid | controller.acknowledge();
    cpu.i32[WORD.procControls] = cpu.i32[WORD.procControls]! & ~PROC.interruptWindow;
  }

  /** Give the vCPU a non-maskable interrupt; false while it takes none. */
  #offerNmi(controller: InterruptController): boolean {
    const { cpu } = this;
    if (
      cpu.i32[WORD.interruptibility]! & (BLOCKING.NMI | BLOCKING.STI | BLOCKING.MOV_SS) ||
      cpu.i32[WORD.pendingDebug]! !== 0 ||
      cpu.i32[WORD.entryInterruptionInfo]! & INTERRUPTION.valid
    )
      return false;
    this.#halted = false;
    cpu.i32[WORD.entryInterruptionInfo] = INTERRUPTION.valid | (NMI_TYPE << INTERRUPTION.typeShift) | VECTOR.NMI;
    controller.acknowledgeNmi?.();
    return true;
  }

  /** A write to the firmware port: true when it came from a ROM stub and was served. */
  firmwareTrap(): boolean {
    const { cpu } = this;
    const linear = (cpu.segment(SEG.CS, "base") + cpu.get("eip")) >>> 0;
    const at = linear > HOLE.end ? this.#physicalOf(linear - 1) + 1 : linear;
    const rom = this.#roms.find((r) => at >= r.base && at <= r.base + r.image.length);
    const service = rom?.services.get(at - rom.base);
    if (!service) return false;
    const outcome = service(this.#context);
    if (outcome && "until" in outcome) {
      this.#lasting = outcome;
      this.#lastingEnd.arm(outcome.until);
    } else if (outcome) {
      const waiting: Promise<unknown> = outcome.then(
        () => this.#endWait(waiting),
        (error: unknown) => {
          this.#endWait(waiting);
          this.#finish({
            kind: "crash",
            message: `firmware service failed: ${error instanceof Error ? error.message : String(error)}`,
          });
        },
      );
      this.#waiting = waiting;
    }
    return true;
  }

  /** A system with paging has the ROM's 32-bit services where it likes. 0 for an address that its tables no longer know. */
  #physicalOf(linear: number): number {
    try {
      this.cpu.translate(linear | 0, PAGE_ACCESS.fetch);
      return this.cpu.walkedAddress;
    } catch {
      return 0;
    }
  }

  #endWait(waiting: Promise<unknown>): void {
    if (this.#waiting === waiting) this.#waiting = undefined;
  }

  get #context(): ServiceContext {
    const cpu: FirmwareCpu = this.#registers;
    return { cpu, memory: this.memory, io: this.bus, clock: this.clock };
  }

  async #waitFor(blocker: Promise<unknown>): Promise<void> {
    const woken = new Promise<void>((resolve) => {
      this.#wake = resolve;
    });
    await Promise.race([blocker, woken]);
    this.#wake = undefined;
    // The outcome's own call-backs come before the loop goes on.
    await Promise.resolve();
  }

  /** Sleep until woken or for `ms`. */
  async #sleep(ms: number): Promise<void> {
    await new Promise<void>((resolve) => {
      const timer = ms < 0x7fffffff ? setTimeout(resolve, ms) : undefined;
      this.#wake = () => {
        if (timer !== undefined) clearTimeout(timer);
        resolve();
      };
    });
    this.#wake = undefined;
  }

  #unexpected(reason: number): string {
    const failed = this.processor.entryProblem;
    if (failed !== undefined) return `VM entry failed: ${failed}`;
    return `VM exit ${EXIT_NAMES[reason & 0xffff] ?? reason} that nothing handles`;
  }

  #where(): string {
    const { cpu } = this;
    return `CS:EIP ${cpu.segment(SEG.CS, "selector").toString(16)}:${(cpu.get("eip") >>> 0).toString(16)}`;
  }
}

/** Let the host's event loop run. */
function yieldToHost(): Promise<void> {
  const { setImmediate } = globalThis as { setImmediate?: (callback: () => void) => void };
  if (setImmediate) return new Promise((resolve) => setImmediate(resolve));
  return new Promise((resolve) => {
    const channel = new MessageChannel();
    channel.port1.onmessage = () => {
      channel.port1.close();
      resolve();
    };
    channel.port2.postMessage(0);
  });
}
