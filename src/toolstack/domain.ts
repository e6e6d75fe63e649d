/** A domain: one virtual PC, from its configuration to its end. The library's main class. */
import { VmxonError } from "../common/errors.ts";
import { keymapOf } from "../devices/keymaps.ts";
import type { DomainProfile } from "../hypervisor/run-profile.ts";
import type { StopReason } from "../hypervisor/stop-reason.ts";
import { type DomainConfig, type ResolvedConfig, resolveConfig, type StopAction } from "./config.ts";
import { DomainMedia } from "./domain-media.ts";
import { Emitter, type Event } from "./events.ts";
import { openFirmware } from "./firmware.ts";
import { type Host, NO_HOST, type SerialTarget } from "./host.ts";
import { openKernel } from "./kernel.ts";
import { Keyboard } from "./keyboard.ts";
import { buildMachine, type Machine, type MachineOptions } from "./machine.ts";
import { MediaBuilder } from "./media-builder.ts";
import { Mouse } from "./mouse.ts";
import type { SaveSink, SaveSource } from "./saved/container.ts";
import { SavedDomain, type RestoreOptions as SavedOptions } from "./saved/restore.ts";
import { type DomainParts, saveDomain } from "./saved/save.ts";
import { Screen } from "./screen.ts";
import { SerialPort } from "./serial-port.ts";
import { Waiter, type WaitOptions } from "./waiter.ts";

/** created → running ⇄ paused → stopped. */
export type DomainState = "created" | "running" | "paused" | "stopped";

/** How a saved domain is restored. */
export interface RestoreOptions extends CreateOptions, SavedOptions {}

export interface SaveOptions {
  /** Name and version of the program, for messages of the one that restores. */
  readonly program?: string;
  /** What becomes of the domain, which does nothing more before that: it goes on (default), pauses, or is destroyed. */
  readonly afterwards?: "continue" | "pause" | "destroy";
}

export interface CreateOptions {
  /** Opens images and serial targets by name. Default: none, only bytes and backends can be given. */
  readonly host?: Host;
  /** Builds the machine; for tests. */
  readonly machine?: (options: MachineOptions) => Machine;
}

/** Number of guest exits of one kind. */
export interface ExitCount {
  readonly reason: number;
  readonly name: string;
  readonly count: number;
}

export class Domain implements AsyncDisposable {
  readonly name: string;
  readonly keyboard: Keyboard;
  readonly mouse: Mouse;
  readonly screen: Screen;
  /** COM1 and COM2. */
  readonly serial: readonly SerialPort[];
  /** Floppies and CDs, which can be changed while the guest runs. */
  readonly media: DomainMedia;
  /** Resolves when the domain has stopped for good and its images are closed. Never rejects. */
  readonly exited: Promise<StopReason>;

  readonly #parts: DomainParts;
  readonly #config: ResolvedConfig;
  readonly #machine: Machine;
  readonly #builder: MediaBuilder;
  readonly #targets: readonly SerialTarget[];
  readonly #waiter: Waiter;
  readonly #stateChanged = new Emitter<DomainState>();
  readonly #noticed: Emitter<string>;
  readonly #notices: readonly string[];
  #resolveExited!: (reason: StopReason) => void;
  #state: DomainState = "created";

  /** The domain went from one state to another. */
  readonly onState: Event<DomainState> = this.#stateChanged.event;
  /** The machine was reset, by the guest or from outside. */
  readonly onReset: Event<void>;
  /** Something that a person should know; the domain goes on. */
  readonly onNotice: Event<string>;

  private constructor(parts: {
    domain: DomainParts;
    targets: readonly SerialTarget[];
    waiter: Waiter;
    resetDone: Emitter<void>;
    noticed: Emitter<string>;
    notices: readonly string[];
  }) {
    const { waiter } = parts;
    const { machine, config, serial, builder, floppies, units } = parts.domain;
    this.name = config.name;
    this.serial = serial;
    this.#parts = parts.domain;
    this.#config = config;
    this.#machine = machine;
    this.#builder = builder;
    this.#targets = parts.targets;
    this.#waiter = waiter;
    this.#noticed = parts.noticed;
    this.#notices = parts.notices;
    this.onReset = parts.resetDone.event;
    this.onNotice = parts.noticed.event;
    this.screen = new Screen({ display: machine.display, waiter });
    this.keyboard = new Keyboard({
      queue: machine.keyQueue,
      port: machine.keyboard,
      waiter,
      keymap: keymapOf(config.keymap),
    });
    this.mouse = new Mouse({ port: machine.mouse, display: machine.display, waiter });
    this.exited = new Promise((resolve) => {
      this.#resolveExited = resolve;
    });
    const sources = Object.fromEntries(Object.entries(config.drives).map(([drive, config]) => [drive, config?.source]));
    this.media = new DomainMedia(
      {
        floppies,
        units,
        builder,
        trays: machine.trays,
        clock: machine.clock,
        running: () => this.#state === "running",
        hold: () => waiter.hold(),
        exited: this.exited,
      },
      sources,
    );
  }

  /**
   * Build a domain: check the configuration, open and check its images, put the machine together. Rejects with a
   * VmxonError whose message names what is wrong and what to do.
   */
  static async create(config: DomainConfig, options: CreateOptions = {}): Promise<Domain> {
    return Domain.#build(config, resolveConfig(config), options, false);
  }

  /**
   * Build a domain again from what {@link save} gave, at the same point of its life: `start` lets it go on. Images are
   * opened by their names; those that had none must be given again in `options.config`. Rejects with VmxonError("state") for
   * what is no saved domain, is damaged, or does not fit; nothing was changed then.
   */
  static async restore(source: SaveSource | SavedDomain, options: RestoreOptions = {}): Promise<Domain> {
    const saved = source instanceof SavedDomain ? source : await SavedDomain.open(source, options);
    const domain = await Domain.#build(saved.given, saved.config, options, true);
    try {
      await saved.load(domain.#parts);
      return domain;
    } catch (error) {
      await domain.destroy();
      throw error;
    }
  }

  static async #build(
    given: DomainConfig,
    resolved: ResolvedConfig,
    options: CreateOptions,
    goesOn: boolean,
  ): Promise<Domain> {
    const host = options.host ?? NO_HOST;
    const resetDone = new Emitter<void>();
    const noticed = new Emitter<string>();
    const notices: string[] = [];
    const notice = (message: string): void => {
      notices.push(message);
    };
    const loadKernel = await openKernel(resolved, host);
    const firmware = await openFirmware(resolved, host);
    const builder = new MediaBuilder({ host, config: resolved, notice });
    const { floppies, units } = await builder.build();
    const targets: SerialTarget[] = [];
    try {
      const serial: SerialPort[] = [];
      const machine = (options.machine ?? buildMachine)({
        config: resolved,
        floppies,
        units,
        loadKernel,
        firmware,
        generator: host.generator,
        transmit: (port, byte) => serial[port]?.transmit(byte),
        resetDone: () => resetDone.fire(),
      });
      const waiter = new Waiter({ clock: machine.clock, repeatable: resolved.clock === "instructions" });
      for (const [index, receive] of machine.serialInputs.entries()) {
        serial.push(new SerialPort({ name: `COM${index + 1}`, clock: machine.clock, waiter, receive }));
      }
      for (const [index, name] of resolved.serial.entries()) {
        const port = serial[index];
        if (name === undefined || !port) continue;
        const target = await host.openSerial(name, { append: goesOn });
        targets.push(target);
        port.connect(target);
        target.onInput?.((bytes) => port.write(bytes));
      }
      const forget = host.generator?.onProblem((problem) => {
        noticed.fire(
          `code is generated on the guest's thread from now on, since the thread for it was lost: ${problem}`,
        );
      });
      const domain = new Domain({
        domain: { given, config: resolved, host, machine, builder, floppies, units, serial },
        targets,
        waiter,
        resetDone,
        noticed,
        notices,
      });
      if (forget) void domain.exited.then(forget);
      return domain;
    } catch (error) {
      await builder.close();
      for (const target of targets) await target.close?.();
      throw error;
    }
  }

  /** The last 64 KB that firmware and guest wrote to the debug ports 402h and E9h. */
  get firmwareLog(): string {
    return this.#machine.firmwareLog();
  }

  get state(): DomainState {
    return this.#state;
  }

  /** What a person should know about how the domain was built (a write-protected floppy, say). */
  get notices(): readonly string[] {
    return this.#notices;
  }

  /** Bytes of RAM. */
  get memory(): number {
    return this.#config.memory;
  }

  /** Let the guest run. Returns at once; `exited` tells the end. Under the instruction clock it begins in the next turn. */
  start(): void {
    if (this.#state !== "created") throw new VmxonError("usage", `${this.name} was started already`);
    this.#enter("running");
    // What the caller does next must not come at a moment that depends on the host's speed.
    this.#waiter.hold();
    this.#live().then(
      (reason) => this.#finish(reason),
      (error: unknown) => this.#finish({ kind: "crash", message: `internal error: ${describe(error)}` }),
    );
  }

  /** Stop guest time; nothing is lost. No effect unless running. */
  pause(): void {
    if (this.#state !== "running") return;
    this.#machine.pause();
    this.#enter("paused");
  }

  /** Go on after `pause`. */
  resume(): void {
    if (this.#state !== "paused") return;
    this.#machine.resume();
    this.#enter("running");
  }

  /** Press the reset button. */
  reset(): void {
    if (this.#state === "running" || this.#state === "paused") this.#machine.reset();
  }

  /** Press the power button: a guest with ACPI shuts down, or wakes; others never learn of it. */
  powerButton(): void {
    if (this.#state === "running") this.#machine.powerButton();
  }

  /** Pull the plug and wait until the images are closed. What the guest has written is kept. */
  async destroy(): Promise<StopReason> {
    if (this.#state === "created")
      await this.#finish({ kind: "destroyed", message: "destroyed before it was started" });
    else if (this.#state !== "stopped") this.#machine.destroy();
    return this.exited;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.destroy();
  }

  /** Resolves once the screen's text or the output of a serial port matches. */
  waitFor(pattern: RegExp, options: WaitOptions = {}): Promise<RegExpExecArray> {
    const onScreen = this.screen.watch(pattern);
    return this.#waiter.wait(
      () => {
        for (const port of this.serial) {
          const match = port.take(pattern);
          if (match) return match;
        }
        return onScreen();
      },
      () => this.#describeOutput(pattern),
      options,
    );
  }

  /** Resolves when `ms` of guest time have passed. Rejects with VmxonError("guest") when the domain stops before. */
  wait(ms: number): Promise<void> {
    return this.#waiter.sleep(ms);
  }

  /** The running or paused domain as bytes, from which {@link Domain.restore} makes it again. */
  async save(options: SaveOptions = {}): Promise<Uint8Array> {
    const { readable, writable } = new TransformStream<Uint8Array, Uint8Array>();
    const [bytes] = await Promise.all([new Response(readable).arrayBuffer(), this.saveTo(writable, options)]);
    return new Uint8Array(bytes);
  }

  /**
   * Write the domain to a stream. The guest stands still meanwhile. Rejects with VmxonError("usage") when it is not running,
   * or with what kept the stream from taking it; the domain goes on then.
   */
  async saveTo(sink: SaveSink, options: SaveOptions = {}): Promise<void> {
    if (this.#state !== "running" && this.#state !== "paused")
      throw new VmxonError("usage", `${this.name} cannot be saved: it is not running`);
    const release = await this.#machine.hold();
    try {
      await saveDomain(this.#parts, sink, options.program ?? "the library");
      if (options.afterwards === "destroy") this.#machine.destroy();
      else if (options.afterwards === "pause") this.pause();
    } finally {
      release();
    }
  }

  /** How often the guest left the processor, by Intel's basic exit reason; most frequent first. */
  exitCounts(): ExitCount[] {
    return this.#machine.exitCounts().sort((a, b) => b.count - a.count);
  }

  /** Guest instructions executed. */
  instructions(): number {
    return this.#machine.instructions();
  }

  /** Where host time went, and what was compiled; undefined without `profile` in the configuration. */
  profile(): DomainProfile | undefined {
    return this.#machine.profile();
  }

  /**
   * A fingerprint of guest time, registers, memory and devices (media not included). Under the instruction clock two runs
   * with the same input have the same one after the same `waitFor`.
   */
  stateHash(): string {
    return this.#machine.stateHash();
  }

  /** Guest time in ms since the domain was created. */
  guestTime(): number {
    return this.#machine.clock.now() / 1e6;
  }

  #enter(state: DomainState): void {
    this.#state = state;
    this.#stateChanged.fire(state);
  }

  async #live(): Promise<StopReason> {
    const actions: Readonly<Record<StopReason["kind"], StopAction>> = {
      poweroff: this.#config.onPoweroff,
      reboot: this.#config.onReboot,
      crash: this.#config.onCrash,
      destroyed: "destroy",
    };
    for (;;) {
      const reason = await this.#machine.run();
      if (actions[reason.kind] === "destroy") return reason;
      this.#noticed.fire(`${reason.message}; starting again`);
      this.#machine.reset();
    }
  }

  async #finish(reason: StopReason): Promise<void> {
    for (const port of this.serial) port.flush();
    let final = reason;
    try {
      for (const target of this.#targets) await target.close?.();
      await this.#builder.close();
    } catch (error) {
      final = { kind: "crash", message: `${reason.message}; and its images could not be closed: ${describe(error)}` };
    }
    this.#enter("stopped");
    this.#waiter.close(new VmxonError("guest", `${this.name} stopped while it was waited for: ${final.message}`));
    this.#resolveExited(final);
  }

  #describeOutput(pattern: RegExp): string {
    const sent = this.serial.map((port) => port.text()).find((text) => text !== "");
    const serial = sent === undefined ? "" : `\nand last sent on its serial port: ${JSON.stringify(sent.slice(-200))}`;
    return `${pattern}; the screen shows:\n${this.screen.text()}${serial}`;
  }
}

function describe(error: unknown): string {
  return error instanceof Error ? error.message : JSON.stringify(error);
}
