/**
 * Generates the interpreter from the instruction table: one arm for each row, operand variant and size, the hot ones in
 * a dispatch loop, the others as functions behind a call. Nothing here knows an instruction.
 */
import { type Form, operandBits, type Row } from "../../isa/row.ts";
import { FIELD, SEG, segmentField } from "../../isa/state.ts";
import { FORMS } from "../../isa/table.ts";
import { call, callIndirect, type I32, i32, type Value } from "../../wasm/expression.ts";
import { FunctionWriter, type Label } from "../../wasm/function.ts";
import { type FunctionReference, ModuleWriter } from "../../wasm/module.ts";
import { BLOCK_HASH, EXECUTE_TABLE, HASH_ENTRIES, HASH_STRIDE } from "../memory-map.ts";
import { Arm, type ArmContext } from "./arm.ts";
import { BLOCK, BLOCK_BYTES, BLOCK_FLAG, RECORD, RECORD_BYTES, RUN, STATUS, VARIANT } from "./record.ts";
import { defineShared, type SharedFunctions } from "./shared.ts";
import { defineX87Arms } from "./x87.ts";

/** Handler numbers that are not arms. */
export const HANDLER = { helper: 0, end: 1 } as const;
const FIRST_ARM = 2;

/** The generated module and the map by which the translator finds arms. */
export interface Interpreter {
  readonly bytes: Uint8Array<ArrayBuffer>;
  /** Handler by form id × 8 + (size index) × 4 + VARIANT; 0xFFFF where there is none. Size index 1 is 32 bits. */
  readonly handlers: Uint16Array;
  /** Arms in the loop and behind a call, for reports. */
  readonly hot: number;
  readonly cold: number;
  /** Bytes of the dispatch loop's body. */
  readonly loopBytes: number;
}

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
  const memory = form.operands.some((code) => /^[EMO]/.test(code));
  const onlyMemory = form.mod === "mem" || form.operands.some((code) => /^[MO]/.test(code));
  const variants: number[] = [];
  if (!onlyMemory) variants.push(VARIANT.register);
  if (memory && form.mod !== "reg") variants.push(VARIANT.flat, VARIANT.general);
  if (form.row.traits.implicit && !onlyMemory) variants.push(VARIANT.registerGeneral);
  return variants;
}

/** Arms with equal keys are the same code. */
function armKey(rowNumber: number, { form, bits, variant }: ArmSpec): string {
  const memory = variant === VARIANT.flat || variant === VARIANT.general;
  const kinds = form.operands.map((code) => {
    const size = operandBits(code, bits);
    if (/^[IJ]/.test(code)) return `i${size}`;
    if (code === "1" || code === "3" || code === "CL") return `k${code}`;
    if (/^[MO]/.test(code) || (code[0] === "E" && memory)) return `m${size}`;
    return `r${size}`;
  });
  const bitString = form.row.traits.bitString && memory && form.operands[1] === "Gv" ? "b" : "";
  return `${rowNumber}:${bits}:${variant}:${kinds.join()}${bitString}`;
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

/** Write a cold arm as a function (s, record) → STATUS. */
function coldArm(module: ModuleWriter, shared: SharedFunctions, spec: ArmSpec): FunctionReference {
  const reference = module.declare({ params: ["i32", "i32"], results: ["i32"] });
  const f = new FunctionWriter(reference.type);
  const s = f.params[0]!.get;
  const pc = f.params[1]!.get;
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
      jump: leave,
      jumpLinked: leave,
    },
    spec,
  );
  f.result(STATUS.next);
  module.define(reference, f.finish());
  return reference;
}

/** Generate the interpreter module. Imports: env.memory, env.slowRead, env.slowModify, env.slowWrite, env.helper. */
export function generateInterpreter(memoryPages: { initial: number; maximum: number; shared: boolean }): Interpreter {
  const module = new ModuleWriter();
  module.importMemory("env", "memory", memoryPages.initial, memoryPages.maximum, memoryPages.shared);
  const imports = {
    slowRead: module.importFunction("env", "slowRead", { params: ["i32", "i32"], results: ["i32"] }),
    slowModify: module.importFunction("env", "slowModify", { params: ["i32", "i32"], results: ["i32"] }),
    slowWrite: module.importFunction("env", "slowWrite", { params: ["i32", "i32", "i32"], results: [] }),
    helper: module.importFunction("env", "helper", { params: ["i32", "i32"], results: ["i32"] }),
  };
  const run = module.declare({ params: ["i32"], results: ["i32"] }, "run");
  const shared = defineShared(module, imports);
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
      }
    }
  }
  for (const { at, key } of places) {
    const place = known.get(key)!;
    handlers[at] = FIRST_ARM + (place.hot ? 0 : hot.length) + place.index;
  }
  for (const spec of cold) module.tableSlot(coldArm(module, shared, spec));
  for (const [form, reference] of defineX87Arms(module, shared)) {
    const handler = FIRST_ARM + hot.length + module.tableSlot(reference);
    for (const bits of [16, 32])
      for (const variant of Object.values(VARIANT)) handlers[armIndex(form.id, bits, variant)] = handler;
  }
  const loopBytes = writeLoop(module, run, shared, hot);
  return { bytes: module.finish(), handlers, hot: hot.length, cold: cold.length, loopBytes };
}

/** The dispatch loop: find a block, run its operations, follow links. */
function writeLoop(
  module: ModuleWriter,
  run: FunctionReference,
  shared: SharedFunctions,
  hot: readonly ArmSpec[],
): number {
  const f = new FunctionWriter(run.type);
  const s = f.params[0]!.get;
  const at = (name: keyof typeof FIELD): number => FIELD[name].offset;
  const pc = f.local("i32");
  const start = f.local("i32");
  const flagsResult = f.local("i32");
  const flagsCarry = f.local("i32");
  const readTable = f.local("i32");
  const writeTable = f.local("i32");
  const budget = f.local("i32");
  const block = f.local("i32");
  const linkSlot = f.local("i32");
  const linkLinear = f.local("i32");
  const status = f.local("i32");
  const load = (name: keyof typeof FIELD): Value => i32.load(s, at(name));
  const leave = (reason: number): void => {
    f.store32(s, flagsResult.get, at("flagsResult"));
    f.store32(s, flagsCarry.get, at("flagsCarry"));
    f.store32(s, start.get, at("eip"));
    f.store32(s, budget.get, at("budget"));
    f.return(reason);
  };
  /** Count the operations from the block's first to the current one as done. */
  const retire = (completed: number): void =>
    f.set(
      budget,
      i32.sub(budget.get, completed ? i32.load8u(pc.get, RECORD.count) : i32.sub(i32.load8u(pc.get, RECORD.count), 1)),
    );

  f.set(start, load("eip"));
  f.set(flagsResult, load("flagsResult"));
  f.set(flagsCarry, load("flagsCarry"));
  f.set(budget, load("budget"));
  f.loop((dispatch) => {
    f.set(readTable, load("readTable"));
    f.set(writeTable, load("writeTable"));
    // Before anything of the next instruction, its fetch included.
    f.if(i32.eqz(budget.get), () => leave(RUN.budget));
    f.block((enter) => {
      const cut = f.let(load("cutBlock"));
      f.if(cut, () => {
        f.store32(s, 0, at("cutBlock"));
        f.set(linkSlot, 0);
        f.set(block, cut);
        f.br(enter);
      });
      const linear = f.let(i32.add(start.get, i32.load(s, segmentField(SEG.CS, "base"))));
      // The execute table lies at a fixed distance from the read table of the same privilege.
      const frame = f.let(i32.load(i32.add(readTable.get, i32.and(i32.shrU(linear, 10), -4)), EXECUTE_TABLE));
      f.if(i32.ltS(frame, 0), () => leave(RUN.miss));
      const machine = f.let(i32.add(frame, i32.and(linear, 4095)));
      const slot = f.let(blockSlot(machine));
      f.if(
        i32.or(i32.xor(i32.load(slot, BLOCK_HASH), machine), i32.xor(i32.load(slot, BLOCK_HASH + 4), load("modeKey"))),
        () => leave(RUN.miss),
      );
      f.set(block, i32.load(slot, BLOCK_HASH + 8));
      const flags = f.let(i32.load(block.get, BLOCK.flags));
      f.if(linkSlot.get, () => {
        // Only within a page, where both ends share one mapping, and only to blocks that need no check at entry.
        f.if(i32.eqz(i32.or(i32.shrU(i32.xor(linear, linkLinear.get), 12), flags)), () =>
          f.store32(linkSlot.get, block.get),
        );
        f.set(linkSlot, 0);
      });
      f.brIf(i32.eqz(flags), enter);
      f.if(i32.and(flags, BLOCK_FLAG.checkLimit), () => {
        const last = i32.add(start.get, i32.sub(i32.load(block.get, BLOCK.bytes), 1));
        f.if(i32.gtU(last, i32.load(s, segmentField(SEG.CS, "limit"))), () => leave(RUN.verify));
      });
      f.if(i32.and(flags, BLOCK_FLAG.crosses), () => {
        const next = i32.add(linear, 4096);
        const mapped = i32.load(i32.add(readTable.get, i32.and(i32.shrU(next, 10), -4)), EXECUTE_TABLE);
        f.if(i32.ne(mapped, i32.load(block.get, BLOCK.crossing)), () => leave(RUN.verify));
      });
    });
    // Enter `block` at `start`.
    f.loop((enter) => {
      f.if(i32.ltU(budget.get, i32.load(block.get, BLOCK.count)), () => leave(RUN.budget));
      f.set(pc, i32.add(block.get, BLOCK_BYTES));
      f.block((fault) => {
        f.loop((next) => {
          f.block((outside) => {
            const context: ArmContext = {
              f,
              s,
              pc: pc.get,
              shared,
              inline: true,
              start: start.get,
              readTable: readTable.get,
              writeTable: writeTable.get,
              flagsResult: () => flagsResult.get,
              flagsCarry: () => flagsCarry.get,
              setFlags(result: I32 | undefined, carry: I32 | undefined) {
                if (carry !== undefined) f.set(flagsCarry, carry);
                if (result !== undefined) f.set(flagsResult, result);
              },
              fault: () => f.br(fault),
              faultIf: (condition) => f.brIf(condition, fault),
              jump(eip) {
                f.set(start, eip);
                retire(1);
                f.br(dispatch);
              },
              jumpLinked(eip, wrapped) {
                retire(1);
                const link = f.let(i32.load(pc.get, RECORD.link));
                const allowed = wrapped === 0 ? link : i32.select(wrapped, 0, link);
                f.if(
                  allowed,
                  () => {
                    f.set(start, eip);
                    f.set(block, link);
                    f.br(enter);
                  },
                  () => {
                    f.set(
                      linkLinear,
                      i32.add(
                        i32.add(start.get, i32.load8u(pc.get, RECORD.offset)),
                        i32.load(s, segmentField(SEG.CS, "base")),
                      ),
                    );
                    f.set(start, eip);
                    f.set(linkSlot, i32.add(pc.get, RECORD.link));
                    f.br(dispatch);
                  },
                );
              },
            };
            const open = (index: number, labels: Label[]): void => {
              if (index < 0) {
                f.brTable(i32.load16u(pc.get, RECORD.handler), labels, outside);
                return;
              }
              f.block((label) => {
                labels[index] = label;
                open(index - 1, labels);
              });
              writeArm(index);
            };
            const writeArm = (index: number): void => {
              if (index === HANDLER.helper) {
                sync();
                f.set(status, call(shared.helper, i32.load(pc.get, RECORD.link), pc.get));
                settle();
              } else if (index === HANDLER.end) {
                // Not an instruction: it stands after the last one, and follows into the next block.
                const here = f.let(i32.add(start.get, i32.load8u(pc.get, RECORD.offset)));
                f.set(budget, i32.sub(budget.get, i32.load8u(pc.get, RECORD.count)));
                const link = f.let(i32.load(pc.get, RECORD.link));
                f.if(
                  link,
                  () => {
                    f.set(start, here);
                    f.set(block, link);
                    f.br(enter);
                  },
                  () => {
                    f.set(linkLinear, i32.add(i32.sub(here, 1), i32.load(s, segmentField(SEG.CS, "base"))));
                    f.set(linkSlot, i32.add(pc.get, RECORD.link));
                    f.set(start, here);
                    f.br(dispatch);
                  },
                );
              } else {
                buildArm(context, hot[index - FIRST_ARM] as ArmSpec);
                f.set(pc, i32.add(pc.get, RECORD_BYTES));
                f.br(next);
              }
            };
            const sync = (): void => {
              f.store32(s, flagsResult.get, at("flagsResult"));
              f.store32(s, flagsCarry.get, at("flagsCarry"));
              f.store32(s, start.get, at("startEip"));
              f.store32(s, budget.get, at("budget"));
            };
            const settle = (): void => {
              f.set(flagsResult, load("flagsResult"));
              f.set(flagsCarry, load("flagsCarry"));
              f.if(i32.eqz(status.get), () => {
                f.set(pc, i32.add(pc.get, RECORD_BYTES));
                f.br(next);
              });
              f.brIf(i32.eq(status.get, STATUS.fault), fault);
              f.set(start, load("startEip"));
              retire(1);
              f.brIf(i32.eq(status.get, STATUS.jump), dispatch);
              leave(RUN.exit);
            };
            open(hot.length + FIRST_ARM - 1, []);
            f.unreachable();
          });
          // Arms outside the loop come here with their handler number.
          f.store32(s, flagsResult.get, at("flagsResult"));
          f.store32(s, flagsCarry.get, at("flagsCarry"));
          f.store32(s, start.get, at("startEip"));
          f.set(
            status,
            callIndirect(
              module.type({ params: ["i32", "i32"], results: ["i32"] }),
              "i32",
              i32.sub(i32.load16u(pc.get, RECORD.handler), hot.length + FIRST_ARM),
              s,
              pc.get,
            ),
          );
          f.set(flagsResult, load("flagsResult"));
          f.set(flagsCarry, load("flagsCarry"));
          f.if(i32.eqz(status.get), () => {
            f.set(pc, i32.add(pc.get, RECORD_BYTES));
            f.br(next);
          });
          f.brIf(i32.eq(status.get, STATUS.fault), fault);
          f.set(start, load("startEip"));
          retire(1);
          f.br(dispatch);
        });
      });
      // A fault: nothing of the current instruction has happened; EIP points to it.
      retire(0);
      f.set(start, i32.add(start.get, i32.load8u(pc.get, RECORD.offset)));
      leave(RUN.fault);
    });
  });
  f.unreachable();
  module.define(run, f.finish());
  return f.size;
}

/** Hash slot (byte offset from BLOCK_HASH) of a machine address. The TypeScript twin is {@link hashSlot}. */
function blockSlot(machine: Value): Value {
  return i32.mul(i32.and(i32.xor(machine, i32.shrU(machine, 15)), HASH_ENTRIES - 1), HASH_STRIDE);
}

/** Byte address of the hash record of a machine address. */
export function hashSlot(machine: number): number {
  return BLOCK_HASH + ((machine ^ (machine >>> 15)) & (HASH_ENTRIES - 1)) * HASH_STRIDE;
}
