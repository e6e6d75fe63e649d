/**
 * The virtual processor as the hypervisor sees it: VM entry, execution, VM exit. The VMCS is the state page; what an
 * entry checks, injects and reports follows Intel SDM 3C chapters 26–29.
 */

import { MAX_LENGTH } from "../isa/decoder.ts";
import { EFLAGS } from "../isa/flags.ts";
import { SEG, VMCS_FIELDS } from "../isa/state.ts";
import type { FillFunctions } from "./address-spaces.ts";
import { Compiler, type CompilerOptions } from "./compiler/compiler.ts";
import { Cpu, type CpuIdentity, GuestFault, leaveFault, type MmioBus, MUST_WAIT, WORD } from "./cpu.ts";
import { readElsewhere, writeElsewhere } from "./elsewhere.ts";
import { checkEntry } from "./entry-checks.ts";
import { ENTRY_FAILURE, EXIT, INTERRUPTION, PROC } from "./exits.ts";
import { HELPERS } from "./helpers.ts";
import { readPort, writePort } from "./instructions/io.ts";
import { generateInterpreter, type Interpreter } from "./interpreter/generate.ts";
import { preparedInterpreter } from "./interpreter/prepared.ts";
import { HELPER_LINK, RECORD, RUN, STATUS } from "./interpreter/record.ts";
import { TABLE_EXPORT } from "./interpreter/regions.ts";
import { deliver, pushesErrorCode, SOURCE } from "./interrupts.ts";
import { MACHINE, SCRATCH_BLOCK, STATE } from "./memory-map.ts";
import { ACTIVITY, BLOCKING, BREAKPOINT, breakpointKind, DR6, DR7, VECTOR } from "./registers.ts";
import { Translator } from "./translator.ts";

const PAGE_64K = 65536;

/** Options of a processor, its model among them. */
export interface ProcessorOptions extends CpuIdentity {
  /** Bytes of machine memory: guest RAM, and what stands in its place. */
  readonly machineBytes: number;
  readonly bus: MmioBus;
  /** How to compile; not at all when it is left out. */
  readonly compiler?: CompilerOptions;
}

let compiled: { interpreter: Interpreter; module: WebAssembly.Module } | undefined;

/** The interpreter, generated and compiled once for all domains of this thread: memory sizes are the instances' affair. */
function compiledInterpreter(): { interpreter: Interpreter; module: WebAssembly.Module } {
  if (!compiled) {
    const interpreter = preparedInterpreter() ?? generateInterpreter();
    compiled = { interpreter, module: new WebAssembly.Module(interpreter.bytes) };
  }
  return compiled;
}

/** Benign, contributory and page faults, for double faults (SDM 3A table 6-4). */
function isContributory(vector: number): boolean {
  return vector === VECTOR.DE || (vector >= VECTOR.TS && vector <= VECTOR.GP);
}

/** The interpreter's own delivery: see native-transfers.ts. */
type Deliver = (vector: number, software: number, error: number, withError: number, eip: number) => number;

const DR = ["dr0", "dr1", "dr2", "dr3"] as const;

export class Processor {
  readonly cpu: Cpu;
  readonly translator: Translator;
  readonly compiler: Compiler | undefined;
  /** Why the last VM entry failed, for people. */
  entryProblem: string | undefined;
  /** Guest instructions completed since power-on. */
  instructions = 0;
  /** What the interpreter's instance exports: `run`, and the functions that compiled regions import. */
  readonly exports: WebAssembly.Exports;
  readonly #run: () => number;
  readonly #deliverPlain: Deliver;
  readonly #fetched = new Uint8Array(MAX_LENGTH);

  constructor(options: ProcessorOptions) {
    const pages = Math.ceil((MACHINE + options.machineBytes) / PAGE_64K);
    const memory = new WebAssembly.Memory({ initial: pages, maximum: pages });
    const { interpreter, module } = compiledInterpreter();
    this.cpu = new Cpu(memory, options.bus, options);
    this.translator = new Translator(this.cpu, interpreter, options.has);
    const { cpu } = this;
    const env: WebAssembly.ModuleImports = {
      memory,
      codeWrite: (machine: number, bytes: number) => cpu.onCodeWrite(machine, bytes),
      readElsewhere: (linear: number, bytes: number, write: number) => readElsewhere(cpu, linear, bytes, write !== 0),
      writeElsewhere: (linear: number, bytes: number) => writeElsewhere(cpu, linear, bytes),
      coversCode: (machine: number, bytes: number) => (cpu.coversCode(machine, bytes) ? 1 : 0),
      portIn: (pc: number, port: number, bytes: 1 | 2 | 4) => readPort(cpu, pc, port, bytes),
      portOut: (pc: number, port: number, bytes: 1 | 2 | 4, value: number) => writePort(cpu, pc, port, bytes, value),
      helper: (link: number, pc: number): number => {
        try {
          return HELPERS[link & 0xffff]!(cpu, pc, (link & ~HELPER_LINK) >>> 16);
        } catch (fault) {
          leaveFault(cpu, fault);
          if (!fault.newTask) return STATUS.fault;
          // The task switch is done: the instruction is over, and the fault is met at the new EIP.
          cpu.i32[WORD.startEip] = cpu.i32[WORD.eip]!;
          return STATUS.exit;
        }
      },
    };
    const instance = new WebAssembly.Instance(module, { env });
    this.exports = instance.exports;
    if (options.compiler && options.compiler.threshold > 0) {
      this.compiler = new Compiler(
        {
          cpu,
          interpreter,
          has: options.has,
          imports: { ...env, ...(instance.exports as WebAssembly.ModuleImports) },
          table: instance.exports[TABLE_EXPORT] as WebAssembly.Table,
          describe: (instruction, count, mode) => [...this.translator.describe(instruction, count, mode)],
          blocksOn: (page) => this.translator.blocksOn(page),
        },
        options.compiler,
      );
      this.translator.setCompiled(this.compiler);
    }
    this.#run = instance.exports["run"] as () => number;
    this.#deliverPlain = instance.exports["deliver"] as Deliver;
    cpu.attach(instance.exports as unknown as FillFunctions);
    cpu.reset();
  }

  /** Instructions completed in the current stay when the operation at `pc` runs; for helpers that read the time. */
  instructionsAt(pc: number): number {
    const { cpu } = this;
    return this.#stay + this.#budget - cpu.i32[WORD.budget]! + cpu.u8[pc + RECORD.count]! - 1;
  }

  /** Instructions of the current VM entry that earlier turns in the engine completed, and the budget of this turn. */
  #stay = 0;
  #budget = 0;

  /**
   * The next stay is of one instruction, and the hypervisor knows the time behind it: no access has to wait
   * (`MmioBus.mmioWaits`).
   */
  alone = false;

  /** Power-on reset of the vCPU; memory stays. */
  reset(): void {
    this.cpu.reset();
    this.forgetCode();
  }

  /** Forget all decoded and compiled code: memory was changed by other ways than {@link Cpu.noteWrite} knows. */
  forgetCode(): void {
    this.compiler?.clear();
    this.translator.flush();
  }

  /** Read a VMCS field by its encoding (VMREAD); undefined for fields that do not exist. Low 32 bits, unsigned. */
  vmread(encoding: number): number | undefined {
    if (encoding === 0x6820) return this.cpu.eflags() >>> 0;
    const field = VMCS_FIELDS.get(encoding);
    return field === undefined ? undefined : this.cpu.i32[(STATE + field.offset) >> 2]! >>> 0;
  }

  /** Write a VMCS field by its encoding (VMWRITE); false for fields that do not exist. */
  vmwrite(encoding: number, value: number): boolean {
    if (encoding === 0x6820) {
      this.cpu.setEflags(value);
      this.cpu.entryChecked = false;
      return true;
    }
    const field = VMCS_FIELDS.get(encoding);
    if (field === undefined) return false;
    this.cpu.entryChecked = false;
    this.cpu.i32[(STATE + field.offset) >> 2] = value;
    return true;
  }

  /**
   * VM entry … VM exit. Runs at most `preemptionTimer` instructions (the VMCS field; a timer that counts guest
   * instructions) and returns the exit reason; details are in the VMCS.
   */
  run(): number {
    const { cpu } = this;
    const { entryChecked } = cpu;
    this.entryProblem = checkEntry(cpu);
    if (this.entryProblem !== undefined) {
      cpu.i32[WORD.exitReason] = EXIT.invalidGuestState | ENTRY_FAILURE;
      cpu.i32[WORD.exitQualification] = 0;
      return EXIT.invalidGuestState | ENTRY_FAILURE;
    }
    // The engine keeps the mode key itself: only what the hypervisor loaded can have changed it.
    if (!entryChecked) cpu.updateMode();
    this.#updateWatches();
    this.#stay = 0;
    cpu.i32[WORD.exitReason] = -1;
    cpu.i32[WORD.idtVectoringInfo] = 0;
    cpu.i32[WORD.faultVector] = -1;
    if (cpu.i32[WORD.entryInterruptionInfo]! & INTERRUPTION.valid && this.#inject()) return cpu.i32[WORD.exitReason]!;
    if (cpu.i32[WORD.pendingDebug]! !== 0) this.#pendingDebug();
    for (;;) {
      if (cpu.i32[WORD.exitReason]! !== -1) return cpu.i32[WORD.exitReason]!;
      const reason = this.#step();
      if (reason >= 0) return reason;
    }
  }

  /** Deliver the event of the VM-entry interruption information; true when that caused an exit. */
  #inject(): boolean {
    const { cpu } = this;
    const info = cpu.i32[WORD.entryInterruptionInfo]!;
    cpu.i32[WORD.entryInterruptionInfo] = info & ~INTERRUPTION.valid;
    cpu.i32[WORD.activity] = ACTIVITY.active;
    const vector = info & 0xff;
    const type = (info >> INTERRUPTION.typeShift) & INTERRUPTION.typeMask;
    const error = info & INTERRUPTION.error ? cpu.i32[WORD.entryErrorCode]! : undefined;
    const software =
      type === SOURCE.software || type === SOURCE.privilegedSoftware || type === SOURCE.softwareException;
    const eip = (cpu.i32[WORD.eip]! + (software ? cpu.i32[WORD.entryInstructionLength]! : 0)) | 0;
    if (type === SOURCE.nmi) cpu.i32[WORD.interruptibility] = cpu.i32[WORD.interruptibility]! | BLOCKING.NMI;
    this.#deliver(vector, type, error, eip);
    return cpu.i32[WORD.exitReason]! !== -1;
  }

  /** Debug traps that were pending at entry (SDM 3C 27.7.3). */
  #pendingDebug(): void {
    const { cpu } = this;
    const pending = cpu.i32[WORD.pendingDebug]! & (DR6.B | DR6.BS);
    cpu.i32[WORD.pendingDebug] = 0;
    if (pending !== 0) this.#debugTrap(pending);
  }

  /** Deliver an event; faults on the way become double and triple faults. */
  #deliver(vector: number, source: number, error: number | undefined, eip: number): void {
    const { cpu } = this;
    const byProgram = source === SOURCE.software || source === SOURCE.softwareException ? 1 : 0;
    if (this.#deliverPlain(vector, byProgram, error ?? 0, error === undefined ? 0 : 1, eip) !== 0) {
      cpu.endShadow();
      return;
    }
    let v = vector;
    let from = source;
    let code = error;
    let at = eip;
    for (;;) {
      try {
        deliver(cpu, v, from, code, at);
        // Whatever blocked events ends with the delivery of one.
        cpu.endShadow();
        cpu.updateMode();
        return;
      } catch (fault) {
        if (!(fault instanceof GuestFault)) throw fault;
        cpu.updateMode();
        if (fault.newTask) at = cpu.i32[WORD.eip]!;
        if (v === VECTOR.DF && from === SOURCE.exception) {
          cpu.i32[WORD.eip] = at;
          cpu.i32[WORD.exitReason] = EXIT.tripleFault;
          cpu.i32[WORD.exitQualification] = 0;
          return;
        }
        const first = from === SOURCE.exception ? v : -1;
        const second = fault.vector;
        const double =
          (isContributory(first) && isContributory(second)) ||
          (first === VECTOR.PF && (isContributory(second) || second === VECTOR.PF));
        if (this.#intercepted(double ? VECTOR.DF : second, double ? 0 : fault.error, at)) {
          cpu.set(
            "idtVectoringInfo",
            INTERRUPTION.valid | v | (from << INTERRUPTION.typeShift) | (code === undefined ? 0 : INTERRUPTION.error),
          );
          cpu.i32[WORD.idtVectoringError] = code ?? 0;
          return;
        }
        v = double ? VECTOR.DF : second;
        code = double ? 0 : pushesErrorCode(second) ? fault.error : undefined;
        from = SOURCE.exception;
        if (cpu.protectedMode || cpu.virtual8086) continue;
        code = undefined;
      }
    }
  }

  /** Whether the exception bitmap takes `vector` to the hypervisor; records the exit, or else the cause of a #DB. */
  #intercepted(vector: number, error: number, eip: number): boolean {
    const { cpu } = this;
    let wanted = ((cpu.i32[WORD.exceptionBitmap]! >>> vector) & 1) === 1;
    if (vector === VECTOR.PF) {
      const match = (error & cpu.i32[WORD.pageFaultMask]!) === cpu.i32[WORD.pageFaultMatch]!;
      if (!match) wanted = !wanted;
    }
    if (!wanted) {
      // An exit leaves DR6 to the hypervisor, which finds the bits in the qualification (SDM 3C 28.1).
      if (vector === VECTOR.DB) cpu.i32[WORD.dr6] = cpu.i32[WORD.dr6]! | error;
      return false;
    }
    cpu.i32[WORD.eip] = eip;
    cpu.i32[WORD.exitReason] = EXIT.exceptionOrNmi;
    cpu.i32[WORD.exitQualification] = vector === VECTOR.PF ? cpu.i32[WORD.cr2]! : vector === VECTOR.DB ? error : 0;
    const withError = pushesErrorCode(vector) && (cpu.protectedMode || cpu.virtual8086);
    cpu.set(
      "exitInterruptionInfo",
      INTERRUPTION.valid | vector | (SOURCE.exception << INTERRUPTION.typeShift) | (withError ? INTERRUPTION.error : 0),
    );
    cpu.i32[WORD.exitInterruptionError] = withError ? error : 0;
    return true;
  }

  /** A fault of the instruction at EIP. */
  #fault(vector: number, error: number): void {
    const { cpu } = this;
    const eip = cpu.i32[WORD.eip]!;
    if (this.#intercepted(vector, error, eip)) return;
    // Faults push RF set, so that the instruction can be resumed over its breakpoint.
    if (vector !== VECTOR.DB) cpu.i32[WORD.eflags] = cpu.i32[WORD.eflags]! | EFLAGS.RF;
    const withError = pushesErrorCode(vector) && (cpu.protectedMode || cpu.virtual8086);
    this.#deliver(vector, SOURCE.exception, withError ? error : undefined, eip);
  }

  /** Run until something must be looked at; an exit reason, or -1 to go on. */
  #step(): number {
    const { cpu } = this;
    const timer = cpu.i32[WORD.preemptionTimer]!;
    if (timer <= 0) return this.#exit(EXIT.preemptionTimer);
    const shadow = cpu.i32[WORD.interruptibility]! & (BLOCKING.STI | BLOCKING.MOV_SS);
    const flags = cpu.i32[WORD.eflags]!;
    if (cpu.i32[WORD.procControls]! & PROC.interruptWindow && flags & EFLAGS.IF && !shadow)
      return this.#exit(EXIT.interruptWindow);
    if (cpu.i32[WORD.activity]! === ACTIVITY.hlt) {
      cpu.i32[WORD.preemptionTimer] = 0;
      return this.#exit(EXIT.preemptionTimer);
    }
    const debug = (cpu.i32[WORD.dr7]! & DR7.ENABLED) !== 0;
    if (debug || cpu.watches.length > 0) this.#updateWatches();
    const single = shadow !== 0 || (flags & (EFLAGS.TF | EFLAGS.RF)) !== 0 || debug;
    if (debug && !(flags & EFLAGS.RF) && this.#codeBreakpoint()) return -1;
    cpu.trapSuppressed = false;
    this.#execute(single ? 1 : timer);
    if (single && cpu.i32[WORD.exitReason]! === -1) this.#afterStep(shadow, flags);
    return -1;
  }

  #exit(reason: number): number {
    this.cpu.set("exitReason", reason);
    this.cpu.set("exitQualification", 0);
    return reason;
  }

  /** One stay in the engine with at most `budget` instructions. */
  #execute(budget: number): void {
    const { cpu } = this;
    cpu.i32[WORD.budget] = budget;
    // A link that the last stay left open leads to where that one went on, not to an exception's or interrupt's handler.
    cpu.i32[WORD.linkSlot] = 0;
    cpu.i32[WORD.skipRegions] = 0;
    cpu.i32[WORD.tscAt] = -1;
    this.#budget = budget;
    let spent = 0;
    cpu.running = !this.alone;
    const status = this.#run();
    cpu.running = false;
    spent += budget - cpu.i32[WORD.budget]!;
    this.#settle();
    switch (status) {
      case RUN.miss:
        this.#miss();
        break;
      case RUN.hot:
        this.#hot();
        break;
      case RUN.verify:
        this.#fetchSingle();
        break;
      case RUN.budget:
        if (cpu.i32[WORD.budget]! > 0) this.#cut(cpu.i32[WORD.budget]!);
        break;
      case RUN.fault: {
        const vector = cpu.i32[WORD.faultVector]!;
        cpu.i32[WORD.faultVector] = -1;
        if (vector === MUST_WAIT) {
          this.#exit(EXIT.eptViolation);
          break;
        }
        // A fault takes one tick of the timer, or a guest that can only fault would never leave.
        spent++;
        this.#fault(vector, cpu.i32[WORD.faultError]!);
        break;
      }
      default:
        if (cpu.i32[WORD.faultVector]! >= 0) {
          // Met by the first moments of a new task.
          const vector = cpu.i32[WORD.faultVector]!;
          cpu.i32[WORD.faultVector] = -1;
          if (vector === MUST_WAIT) this.#exit(EXIT.eptViolation);
          else this.#fault(vector, cpu.i32[WORD.faultError]!);
        }
    }
    this.#completed = spent > 0 && status !== RUN.fault;
    this.#spend(spent);
    const extra = cpu.i32[WORD.extraWork]!;
    if (extra > 0) {
      cpu.i32[WORD.preemptionTimer] = cpu.i32[WORD.preemptionTimer]! - extra;
      cpu.i32[WORD.extraWork] = 0;
    }
  }

  /** The engine stopped: what was noted to be so right behind one instruction only is so now, or was. */
  #settle(): void {
    const { cpu } = this;
    const budget = cpu.i32[WORD.budget]!;
    const shadow = cpu.i32[WORD.shadowAt]!;
    if (shadow >= 0) {
      if (shadow === budget)
        cpu.i32[WORD.interruptibility] = cpu.i32[WORD.interruptibility]! | cpu.i32[WORD.shadowBlocking]!;
      cpu.i32[WORD.shadowAt] = -1;
    }
    cpu.settleResume(budget);
  }

  /** `count` instructions, or attempts at one, have gone by. */
  #spend(count: number): void {
    this.instructions += count;
    this.#stay += count;
    this.cpu.set("preemptionTimer", this.cpu.get("preemptionTimer") - count);
  }

  #completed = false;

  /** After a single instruction: shadows end, RF clears, traps are due. */
  #afterStep(shadow: number, flags: number): void {
    const { cpu } = this;
    if (!this.#completed) return;
    if (shadow) {
      // The shadow of a MOV SS or STI just executed is a new one.
      const now = cpu.i32[WORD.interruptibility]!;
      cpu.i32[WORD.interruptibility] = now & ~shadow;
    }
    if (flags & EFLAGS.RF) cpu.i32[WORD.eflags] = cpu.i32[WORD.eflags]! & ~EFLAGS.RF;
    let dr6 = 0;
    if (flags & EFLAGS.TF && !cpu.trapSuppressed) dr6 |= DR6.BS;
    if (cpu.watchHits) {
      dr6 |= cpu.watchHits;
      cpu.watchHits = 0;
    }
    if (dr6 === 0 || cpu.i32[WORD.activity]! === ACTIVITY.shutdown) return;
    // Debug traps wait while MOV SS or POP SS shadows the next instruction (SDM 3A 6.8.3).
    if (cpu.i32[WORD.interruptibility]! & BLOCKING.MOV_SS) return;
    this.#debugTrap(dr6);
  }

  /** #DB as a trap, with the bits that DR6 gets. */
  #debugTrap(dr6: number): void {
    const eip = this.cpu.get("eip");
    if (this.#intercepted(VECTOR.DB, dr6, eip)) return;
    this.#deliver(VECTOR.DB, SOURCE.exception, undefined, eip);
  }

  /** Instruction breakpoints at EIP: deliver #DB before the instruction runs. */
  #codeBreakpoint(): boolean {
    const { cpu } = this;
    const dr7 = cpu.i32[WORD.dr7]!;
    const linear = (cpu.segment(SEG.CS, "base") + cpu.i32[WORD.eip]!) | 0;
    let hits = 0;
    for (let i = 0; i < 4; i++) {
      const enabled = (dr7 >> (i * 2)) & 3;
      if (enabled && breakpointKind(dr7, i).kind === BREAKPOINT.execute && cpu.get(DR[i]!) === linear) hits |= 1 << i;
    }
    if (hits === 0) return false;
    this.#fault(VECTOR.DB, hits);
    this.#spend(1);
    return true;
  }

  #watchedDr7 = 0;
  readonly #watchedLinear = new Int32Array(DR.length);

  /** Data breakpoints of DR7, as watches of the memory path. */
  #updateWatches(): void {
    const { cpu } = this;
    const dr7 = cpu.i32[WORD.dr7]!;
    if (dr7 === this.#watchedDr7) {
      if ((dr7 & DR7.ENABLED) === 0) return;
      if (DR.every((name, i) => cpu.get(name) === this.#watchedLinear[i])) return;
    }
    this.#watchedDr7 = dr7;
    for (const [i, name] of DR.entries()) this.#watchedLinear[i] = cpu.get(name);
    cpu.watches = [0, 1, 2, 3].flatMap((i) => {
      const { kind, length } = breakpointKind(dr7, i);
      if (!((dr7 >> (i * 2)) & 3) || kind === BREAKPOINT.execute || kind === BREAKPOINT.io) return [];
      return [{ linear: cpu.get(DR[i]!) & -length, bytes: length, write: kind === BREAKPOINT.write, bit: 1 << i }];
    });
  }

  /** Machine offset of CS:EIP for execution, or -1 when it is not in RAM or ROM; throws the fetch fault. */
  #fetchAddress(eip: number): number {
    const { cpu } = this;
    return cpu.fetch((cpu.segment(SEG.CS, "base") + eip) | 0);
  }

  #hot(): void {
    this.compiler?.hot(this.cpu.get("hotBlock"), this.cpu.get("eip"));
  }

  #miss(): void {
    const { cpu } = this;
    const eip = cpu.i32[WORD.eip]!;
    let machine: number;
    if (eip >>> 0 > cpu.segment(SEG.CS, "limit") >>> 0) {
      this.#spend(1);
      this.#fault(VECTOR.GP, 0);
      return;
    }
    try {
      machine = this.#fetchAddress(eip);
    } catch (fault) {
      if (!(fault instanceof GuestFault)) throw fault;
      this.#spend(1);
      this.#fault(fault.vector, fault.error);
      return;
    }
    const second = (): number => {
      try {
        const next = (((cpu.segment(SEG.CS, "base") + eip) | 0) & -4096) + 4096;
        return cpu.fetch(next | 0);
      } catch (fault) {
        if (!(fault instanceof GuestFault)) throw fault;
        return -1;
      }
    };
    if (machine < 0 || !this.translator.translate(machine, eip, second)) this.#fetchSingle();
  }

  /** Fetch one instruction byte by byte, with every check, into the scratch block; raises what the fetch meets. */
  #fetchSingle(): void {
    const { cpu } = this;
    const eip = cpu.i32[WORD.eip]!;
    const limit = cpu.segment(SEG.CS, "limit") >>> 0;
    const cr2 = cpu.i32[WORD.cr2]!;
    let available = 0;
    let vector = -1;
    let error = 0;
    for (; available < MAX_LENGTH; available++) {
      const offset = ((eip >>> 0) + available) >>> 0;
      if (offset > limit) {
        vector = VECTOR.GP;
        break;
      }
      try {
        const linear = (cpu.segment(SEG.CS, "base") + offset) | 0;
        const machine = cpu.fetch(linear);
        this.#fetched[available] = machine >= 0 ? cpu.u8[machine]! : cpu.fetchMmio(linear);
      } catch (fault) {
        if (!(fault instanceof GuestFault)) throw fault;
        vector = fault.vector;
        error = fault.error;
        break;
      }
    }
    const length = this.translator.single(this.#fetched, available);
    if (length < 0) {
      this.#spend(1);
      if (vector >= 0) this.#fault(vector, error);
      else this.#fault(VECTOR.GP, 0);
      return;
    }
    // Bytes behind the instruction may have met a page fault that nobody shall see.
    cpu.i32[WORD.cr2] = cr2;
    cpu.i32[WORD.cutBlock] = SCRATCH_BLOCK;
  }

  /** Fewer instructions are wanted than the next block has: run a copy of its beginning. */
  #cut(count: number): void {
    const { cpu } = this;
    const cr2 = cpu.i32[WORD.cr2]!;
    let machine = -1;
    try {
      machine = this.#fetchAddress(cpu.i32[WORD.eip]!);
    } catch (fault) {
      // The page went while a linked block led here: what follows fetches, and raises, as usual.
      if (!(fault instanceof GuestFault)) throw fault;
      cpu.i32[WORD.cr2] = cr2;
    }
    if (machine < 0 || !this.translator.cut(machine, count)) this.#fetchSingle();
    else cpu.i32[WORD.cutBlock] = SCRATCH_BLOCK;
  }
}
