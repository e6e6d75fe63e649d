/**
 * Generates the interpreter from the instruction table: one arm for each row, operand variant and size, the hot ones in
 * a dispatch loop, the others as functions behind a call. Nothing here knows an instruction.
 */
import { type Form, MEMORY_OPERAND, operandBits, type Row, VECTOR_OPERAND } from "../../isa/row.ts";
import { FIELD } from "../../isa/state.ts";
import { FORMS } from "../../isa/table.ts";
import { defineRuntime, type Runtime } from "../../isa/vector/runtime.ts";
import { call, i32, type Value } from "../../wasm/expression.ts";
import { FunctionWriter } from "../../wasm/function.ts";
import { type FunctionReference, ModuleWriter } from "../../wasm/module.ts";
import { defineLazyFlags } from "../compiler/lazy-flags.ts";
import { FUNCTION_SLOTS, STATE } from "../memory-map.ts";
import { Arm, type ArmContext } from "./arm.ts";
import { type ArmWriter, DispatchLoop } from "./dispatch-loop.ts";
import { defineNatives } from "./natives.ts";
import { RECORD, STATUS, VARIANT } from "./record.ts";
import { defineRegions, TABLE_EXPORT } from "./regions.ts";
import { defineShared, type SharedFunctions } from "./shared.ts";
import { defineX87Arms } from "./x87.ts";

/** What a WebAssembly memory can have at most, in 64 KiB pages: the module fits a domain of any size. */
const MAX_MEMORY_PAGES = 65536;

/** Handler numbers that are not arms. */
export const HANDLER = { helper: 0, end: 1 } as const;
const FIRST_ARM = 2;

/** The generated module and the map by which the translator finds arms. */
export interface Interpreter {
  readonly bytes: Uint8Array<ArrayBuffer>;
  /** Handler by form id × 8 + (size index) × 4 + VARIANT; 0xFFFF where there is none. Size index 1 is 32 bits. */
  readonly handlers: Uint16Array;
  /** Handler of the pair made of handler h and Jcc with condition cc, at h × 16 + cc; 0xFFFF where there is none. */
  readonly fused: Uint16Array;
  /** First handler number of fused pairs, and the number behind the last. */
  readonly fusedRange: readonly [number, number];
  /** Handler number of the function table's slot 0. */
  readonly tableBase: number;
  /** First slot of the function table for compiled regions. */
  readonly firstRegion: number;
  /** Handlers of the natives, by their keys (see natives.ts). */
  readonly natives: ReadonlyMap<string, number>;
  /** Arms in the loop and behind a call, for reports. */
  readonly hot: number;
  readonly cold: number;
  /** Bytes of the dispatch loop's body. */
  readonly loopBytes: number;
}

/** One arm to write. */
interface ArmSpec {
  readonly form: Form;
  readonly bits: number;
  readonly variant: number;
}

/** Index of a form's arm in {@link Interpreter.handlers}. */
export function armIndex(formId: number, bits: number, variant: number): number {
  return formId * 8 + (bits === 16 ? 0 : 4) + variant;
}

function formSizes(form: Form): number[] {
  if (form.sizeClass === "v") return [16, 32];
  return [form.sizeClass === "b" ? 8 : form.sizeClass === "w" ? 16 : 32];
}

function formVariants(form: Form): number[] {
  const memory = form.operands.some((code) => MEMORY_OPERAND.test(code));
  const onlyMemory = form.mod === "mem" || form.operands.some((code) => /^[MO]/.test(code));
  const variants: number[] = [];
  if (!onlyMemory) variants.push(VARIANT.register);
  if (memory && form.mod !== "reg") {
    if (!form.row.traits.vector) variants.push(VARIANT.flat);
    variants.push(VARIANT.general);
  }
  if (form.row.traits.implicit && !onlyMemory) variants.push(VARIANT.registerGeneral);
  return variants;
}

/** What each operand is to an arm: m, r, i or k, and its size. */
function operandKinds({ form, bits, variant }: ArmSpec): string[] {
  const memory = variant === VARIANT.flat || variant === VARIANT.general;
  return form.operands.map((code) => {
    const size = operandBits(code, bits);
    if (/^[IJ]/.test(code)) return `i${size}`;
    if (code === "1" || code === "3" || code === "CL") return `k${code}`;
    if (/^[MO]/.test(code) || (memory && MEMORY_OPERAND.test(code))) return `m${size}`;
    if (VECTOR_OPERAND.test(code)) return `${/^[PQN]/.test(code) ? "p" : "v"}${size}`;
    return `r${size}`;
  });
}

/** Arms with equal keys are the same code. */
function armKey(rowNumber: number, spec: ArmSpec): string {
  const { form, bits, variant } = spec;
  const bitString = form.row.traits.bitString && variant !== VARIANT.register && form.operands[1] === "Gv" ? "b" : "";
  return `${rowNumber}:${bits}:${variant}:${operandKinds(spec).join()}${bitString}`;
}

/** Which arms stand in the loop: hot rows, in the variants that flat 32-bit code uses. */
function isHot({ form, bits, variant }: ArmSpec): boolean {
  if (!form.row.traits.hot || variant === VARIANT.general || variant === VARIANT.registerGeneral) return false;
  return bits !== 16 || form.row.forms.length <= 2 || variant === VARIANT.register;
}

function buildArm(context: ArmContext, spec: ArmSpec): void {
  const arm = new Arm(context, spec.form, spec.bits, spec.variant);
  context.f.scope(() => spec.form.row.semantics?.(arm, ...arm.operands()));
}

/** First halves of fused pairs, as arm keys without row and variant: what compilers put before a conditional jump. */
const FUSIBLE: Readonly<Record<string, readonly string[]>> = {
  CMP: ["r32,r32", "r32,i32", "r32,m32", "m32,r32", "m32,i32", "r8,i8", "m8,i8"],
  TEST: ["r32,r32", "r8,r8", "r8,i8", "m8,i8"],
  DEC: ["r32"],
};
/** Conditions of fused pairs: all but O, NO, P and NP. */
const FUSED_CONDITIONS = [2, 3, 4, 5, 6, 7, 8, 9, 12, 13, 14, 15] as const;

/** Number of fused handlers of one first half: one for each condition of Jcc. */
const CONDITION_COUNT = 16;

function isFusible(spec: ArmSpec): boolean {
  return FUSIBLE[spec.form.row.mnemonic]?.includes(operandKinds(spec).join()) === true;
}

/** Write a cold arm as a function (record) → STATUS. */
function coldArm(module: ModuleWriter, shared: SharedFunctions, runtime: Runtime, spec: ArmSpec): FunctionReference {
  const reference = module.declare({ params: ["i32"], results: ["i32"] });
  const f = new FunctionWriter(reference.type);
  const s = i32.const(STATE);
  const pc = f.params[0]!.get;
  const field = (name: keyof typeof FIELD): Value => i32.load(s, FIELD[name].offset);
  const leave = (eip: Value): void => {
    f.store32(s, eip, FIELD.startEip.offset);
    f.return(STATUS.jump);
  };
  buildArm(
    {
      f,
      s,
      pc,
      shared,
      runtime,
      inline: false,
      start: field("startEip"),
      readTable: field("readTable"),
      writeTable: field("writeTable"),
      flagsResult: () => field("flagsResult"),
      flagsCarry: () => field("flagsCarry"),
      setFlags(result, carry) {
        // The carry may be computed from the old result, never the other way round.
        if (carry !== undefined) f.store32(s, carry, FIELD.flagsCarry.offset);
        if (result !== undefined) f.store32(s, result, FIELD.flagsResult.offset);
      },
      fault: () => f.return(STATUS.fault),
      faultIf: (condition) => f.if(condition, () => f.return(STATUS.fault)),
      helper: () => f.return(call(shared.helper, i32.load(pc, RECORD.link), pc)),
      jump: leave,
      jumpLinked: leave,
      leaveTo: (helper) => f.return(call(shared.helper, helper, pc)),
    },
    spec,
  );
  f.result(STATUS.next);
  module.define(reference, f.finish());
  return reference;
}

/** Generate the interpreter module. Imports: env.memory, env.helper and those of {@link AccessImports} and
 * {@link PortImports}. */
export function generateInterpreter(): Interpreter {
  const module = new ModuleWriter();
  module.importMemory("env", "memory", 1, MAX_MEMORY_PAGES);
  const imports = {
    codeWrite: module.importFunction("env", "codeWrite", { params: ["i32", "i32"], results: [] }),
    readElsewhere: module.importFunction("env", "readElsewhere", { params: ["i32", "i32", "i32"], results: ["i32"] }),
    writeElsewhere: module.importFunction("env", "writeElsewhere", { params: ["i32", "i32"], results: ["i32"] }),
    coversCode: module.importFunction("env", "coversCode", { params: ["i32", "i32"], results: ["i32"] }),
    helper: module.importFunction("env", "helper", { params: ["i32", "i32"], results: ["i32"] }),
  };
  const ports = {
    portIn: module.importFunction("env", "portIn", { params: ["i32", "i32", "i32"], results: ["i32"] }),
    portOut: module.importFunction("env", "portOut", { params: ["i32", "i32", "i32", "i32"], results: [] }),
  };
  const run = module.declare({ params: [], results: ["i32"] }, "run");
  const shared = defineShared(module, imports);
  const runtime = defineRuntime(module);
  const handlers = new Uint16Array(FORMS.length * 8).fill(0xffff);
  const hot: ArmSpec[] = [];
  const cold: ArmSpec[] = [];
  const known = new Map<string, { hot: boolean; index: number }>();
  const places: { at: number; key: string }[] = [];
  const rowNumbers = new Map<Row, number>();
  for (const form of FORMS) {
    if (!form.row.semantics) continue;
    const rowNumber = rowNumbers.get(form.row) ?? rowNumbers.size;
    rowNumbers.set(form.row, rowNumber);
    for (const bits of formSizes(form)) {
      for (const variant of formVariants(form)) {
        const spec: ArmSpec = { form, bits, variant };
        const key = armKey(rowNumber, spec);
        if (!known.has(key)) {
          const list = isHot(spec) ? hot : cold;
          known.set(key, { hot: list === hot, index: list.push(spec) - 1 });
        }
        places.push({ at: armIndex(form.id, bits, variant), key });
        // Vector rows have no flat variant of their own.
        if (form.row.traits.vector && variant === VARIANT.general)
          places.push({ at: armIndex(form.id, bits, VARIANT.flat), key });
      }
    }
  }
  const jumps = conditionalJumps(hot);
  const pairs = hot.flatMap((spec, index) =>
    isFusible(spec) ? FUSED_CONDITIONS.map((cc) => ({ spec, index, jump: jumps[cc]!, cc })) : [],
  );
  const fusedStart = FIRST_ARM + hot.length;
  const coldStart = fusedStart + pairs.length;
  const fused = new Uint16Array(fusedStart * CONDITION_COUNT).fill(0xffff);
  for (const [i, { index, cc }] of pairs.entries()) fused[(FIRST_ARM + index) * CONDITION_COUNT + cc] = fusedStart + i;
  for (const { at, key } of places) {
    const place = known.get(key)!;
    handlers[at] = place.hot ? FIRST_ARM + place.index : coldStart + place.index;
  }
  for (const spec of cold) module.tableSlot(coldArm(module, shared, runtime, spec));
  for (const [form, reference] of defineX87Arms(module, shared)) {
    const handler = coldStart + module.tableSlot(reference);
    for (const bits of [16, 32])
      for (const variant of Object.values(VARIANT)) handlers[armIndex(form.id, bits, variant)] = handler;
  }
  const { arms: nativeArms, deliverFault } = defineNatives(module, shared, ports);
  const natives = new Map<string, number>();
  for (const [key, reference] of nativeArms) natives.set(key, coldStart + module.tableSlot(reference));
  const arms: ArmWriter[] = [
    ...hot.map(
      (spec): ArmWriter =>
        (context) =>
          buildArm(context, spec),
    ),
    ...pairs.map(
      ({ spec, jump }): ArmWriter =>
        (context, advance) => {
          buildArm(context, spec);
          advance();
          buildArm(context, jump);
        },
    ),
  ];
  const regions = defineRegions(module, defineLazyFlags(module));
  module.exportTable(TABLE_EXPORT, FUNCTION_SLOTS - module.tableSize);
  const loopBytes = new DispatchLoop(module, shared, runtime, run, regions, deliverFault).write(run, arms);
  return {
    bytes: module.finish(),
    handlers,
    fused,
    fusedRange: [fusedStart, coldStart],
    tableBase: coldStart,
    firstRegion: module.tableSize,
    natives,
    hot: hot.length + pairs.length,
    cold: cold.length,
    loopBytes,
  };
}

/** The hot 32-bit arms of Jcc, by condition. */
function conditionalJumps(hot: readonly ArmSpec[]): ArmSpec[] {
  const jumps: ArmSpec[] = [];
  for (const spec of hot) {
    const { condition } = spec.form.row.traits;
    if (condition !== undefined && spec.bits === 32) jumps[condition] ??= spec;
  }
  return jumps;
}
