/** A bare processor with 16 MB of RAM, for tests of instructions. Exceptions are reported, not delivered. */
import { GPR, SEG } from "../../src/isa/state.ts";
import { restoreState, saveState } from "../../src/isa/x87/environment.ts";
import { type CompilerOptions, DEFAULT_COMPILER } from "../../src/processor/compiler/compiler.ts";
import { P2M_TYPE } from "../../src/processor/cpu.ts";
import { EXIT, PROC, PROC2 } from "../../src/processor/exits.ts";
import { MACHINE, STATE } from "../../src/processor/memory-map.ts";
import { Processor } from "../../src/processor/processor.ts";
import { CR0 } from "../../src/processor/registers.ts";

const RAM = 16 << 20;
const FPU_IMAGE = 108;
const FPU_FORMAT = { bits: 32, protected: true } as const;

export interface RunResult {
  readonly kind: "done" | "exception" | "halt" | "exit";
  readonly vector?: number;
  readonly errorCode?: number;
  /** Basic exit reason of "exit". */
  readonly reason?: number;
}

export interface TestMachine {
  readonly processor: Processor;
  /** Guest RAM; call invalidate() after changing code in it. */
  readonly memory: Uint8Array;
  set(register: string, value: number): void;
  /** Unsigned. */
  get(register: string): number;
  invalidate(): void;
  /** x87 state as a 108-byte FNSAVE image in the 32-bit protected-mode format. */
  readonly fpu: { get(): Uint8Array; set(image: Uint8Array): void };
  mode(mode: "real" | "protected16" | "protected32" | "user32"): void;
  /** Execute at most `n` instructions. */
  run(n: number): RunResult;
}

const SEGMENTS: Record<string, number> = { es: SEG.ES, cs: SEG.CS, ss: SEG.SS, ds: SEG.DS, fs: SEG.FS, gs: SEG.GS };
const CODE32 = 0xc09b;
const DATA32 = 0xc093;

/** Engines that tests run on: the interpreter alone, or everything compiled the first time it is met. */
const TIERS = {
  interpreter: undefined,
  compiled: { ...DEFAULT_COMPILER, threshold: 1, immediate: true },
} as const;
export type Tier = keyof typeof TIERS;

/** VMXON_TEST_TIER of the environment, or the interpreter. */
function defaultTier(): Tier {
  return process.env["VMXON_TEST_TIER"] === "compiled" ? "compiled" : "interpreter";
}

/** CPU features of the test machine: everything implemented. */
export const everything = (): boolean => true;

/** A machine for tests, on a tier or with a compiler of the test's own. */
export function createMachine(tier: Tier | CompilerOptions = defaultTier()): TestMachine {
  const compiler = typeof tier === "string" ? TIERS[tier] : tier;
  const processor = new Processor({
    machineBytes: RAM,
    bus: { mmioRead: (_gpa, bytes) => (bytes === 4 ? 0xffffffff : bytes === 2 ? 0xffff : 0xff), mmioWrite() {} },
    signature: 0,
    has: everything,
    ...(compiler && { compiler }),
  });
  const { cpu } = processor;
  for (let frame = 0; frame < RAM >> 12; frame++) cpu.setP2m(frame, MACHINE + frame * 4096, P2M_TYPE.ram);
  cpu.set("exceptionBitmap", -1);
  cpu.set("procControls", PROC.hlt | PROC.unconditionalIo | PROC.secondary);
  cpu.set("procControls2", PROC2.unrestrictedGuest);
  const machine: TestMachine = {
    processor,
    memory: cpu.u8.subarray(MACHINE, MACHINE + RAM),
    set(register, value) {
      const segment = SEGMENTS[register];
      if (segment !== undefined) {
        if (cpu.get("cr0") & CR0.PE)
          cpu.setSegment(
            segment,
            value,
            cpu.segment(segment, "base"),
            cpu.segment(segment, "limit"),
            cpu.segment(segment, "ar"),
          );
        else cpu.setSegment(segment, value, (value & 0xffff) << 4, 0xffff, cpu.segment(segment, "ar"));
      } else if (register === "eip") cpu.set("eip", value);
      else if (register === "eflags") cpu.setEflags(value);
      else cpu.setGpr(GPR[register as keyof typeof GPR] >> 3, value);
    },
    get(register) {
      const segment = SEGMENTS[register];
      if (segment !== undefined) return cpu.segment(segment, "selector");
      if (register === "eip") return cpu.get("eip") >>> 0;
      if (register === "eflags") return cpu.eflags() >>> 0;
      return cpu.gpr(GPR[register as keyof typeof GPR] >> 3) >>> 0;
    },
    fpu: {
      get() {
        const image = new Uint8Array(FPU_IMAGE);
        saveState(cpu.view, STATE, image, FPU_FORMAT);
        return image;
      },
      set: (image) => restoreState(cpu.view, STATE, image, FPU_FORMAT),
    },
    invalidate: () => processor.forgetCode(),
    mode(mode) {
      const controls = (["exceptionBitmap", "procControls", "procControls2"] as const).map(
        (name) => [name, cpu.get(name)] as const,
      );
      cpu.reset();
      for (const [name, value] of controls) cpu.set(name, value);
      if (mode !== "real") {
        cpu.set("cr0", CR0.PE | CR0.ET | CR0.NE);
        const dpl = mode === "user32" ? 3 : 0;
        const big = mode === "protected16" ? 0x4000 : 0;
        for (const segment of Object.values(SEGMENTS)) {
          const ar = (segment === SEG.CS ? CODE32 : DATA32) & ~big;
          cpu.setSegment(segment, (segment === SEG.CS ? 8 : 16) | dpl, 0, 0xffffffff, ar | (dpl << 5));
        }
        cpu.set("cpl", dpl);
      }
      cpu.updateMode();
    },
    run(n) {
      cpu.set("preemptionTimer", n);
      cpu.set("interruptibility", 0);
      const reason = processor.run();
      if (reason === EXIT.preemptionTimer) return { kind: "done" };
      if (reason === EXIT.hlt) return { kind: "halt" };
      if (reason === EXIT.exceptionOrNmi) {
        return {
          kind: "exception",
          vector: cpu.get("exitInterruptionInfo") & 0xff,
          errorCode: cpu.get("exitInterruptionError"),
        };
      }
      return { kind: "exit", reason };
    },
  };
  return machine;
}
