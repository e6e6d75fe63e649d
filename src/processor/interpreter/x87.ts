/**
 * Arms for x87 instructions: availability, pending exceptions, memory operands and last-instruction pointers around the
 * functions of `isa/x87`. SDM 1 8.1.8–8.1.10, 8.6; SDM 3A table 2-2.
 */

import type { Form } from "../../isa/row.ts";
import { FIELD, FPU_SCRATCH, SEG, segmentField } from "../../isa/state.ts";
import { x87RowOf } from "../../isa/table/x87.ts";
import { FORMS } from "../../isa/table.ts";
import { isControl, MEMORY_BYTES, type X87Row } from "../../isa/x87/row.ts";
import { defineX87, type X87Function } from "../../isa/x87/x87.ts";
import { call, i32, i64, type Value } from "../../wasm/expression.ts";
import { FunctionWriter } from "../../wasm/function.ts";
import type { FunctionReference, ModuleWriter } from "../../wasm/module.ts";
import { helperNumber } from "../helpers.ts";
import { STATE } from "../memory-map.ts";
import { CR0, VECTOR } from "../registers.ts";
import { hostAddress } from "../shadow.ts";
import { RECORD, STATUS } from "./record.ts";
import type { SharedFunctions } from "./shared.ts";

/** FSW.ES: an unmasked exception is pending. */
const PENDING = 0x80;
/** What a row's function returns for "raise #MF". */
const X87_PENDING = 16;

/** Write a function (record) → STATUS for every x87 form that is not a helper's. */
export function defineX87Arms(module: ModuleWriter, shared: SharedFunctions): Map<Form, FunctionReference> {
  const functions = defineX87(module, false, i32.const(STATE));
  const arms = new Map<Form, FunctionReference>();
  for (const form of FORMS) {
    const row = x87RowOf(form);
    const implementation = row && functions.get(row);
    if (row && implementation) arms.set(form, arm(module, shared, row, implementation));
  }
  return arms;
}

function arm(
  module: ModuleWriter,
  shared: SharedFunctions,
  row: X87Row,
  implementation: X87Function,
): FunctionReference {
  const reference = module.declare({ params: ["i32"], results: ["i32"] });
  const f = new FunctionWriter(reference.type);
  const s = i32.const(STATE);
  const pc = f.params[0]!.get;
  const field = (name: keyof typeof FIELD): Value => i32.load(s, FIELD[name].offset);
  const raise = (vector: number): void => {
    f.store32(s, 0, FIELD.faultError.offset);
    f.store32(s, vector, FIELD.faultVector.offset);
    f.return(STATUS.fault);
  };
  const checkFault = (): void => f.if(i32.geS(field("faultVector"), 0), () => f.return(STATUS.fault));

  const cr0 = field("cr0");
  if (row.mnemonic === "FWAIT") {
    f.if(i32.eq(i32.and(cr0, CR0.MP | CR0.TS), CR0.MP | CR0.TS), () => raise(VECTOR.NM));
  } else {
    f.if(i32.and(cr0, CR0.EM | CR0.TS), () => raise(VECTOR.NM));
  }
  const pendingError = (): void => f.return(call(shared.helper, helperNumber("pendingError"), pc));
  if (row.waits) f.if(i32.and(field("fsw"), PENDING), pendingError);

  let offset: Value | undefined;
  let linear: Value | undefined;
  const operands: Value[] = [];
  if (row.mod === "mem" && row.memory && row.memory !== "env" && row.memory !== "state") {
    const bytes = MEMORY_BYTES[row.memory];
    offset = f.let(call(shared.effectiveAddress, s, pc));
    const write = row.access === "write" ? 1 : 0;
    linear = f.let(call(shared.segment, s, i32.load8u(pc, RECORD.segment), offset, bytes - 1, write));
    checkFault();
    if (write) {
      // Permission is looked at before the computation, whose unmasked exceptions may suppress the store.
      for (const at of [linear, i32.and(i32.add(linear, bytes - 1), -4096)]) {
        const crossing = at !== linear;
        const probe = (): void => {
          f.if(i32.ltS(hostAddress(field("writeTable"), at), 0), () => {
            // Devices do not see a look, unless data breakpoints must.
            f.if(
              field("watching"),
              () => f.do(call(shared.modify8, s, at)),
              () => f.do(call(shared.modifyAddress, at, 1)),
            );
            checkFault();
          });
        };
        if (crossing) f.if(i32.shrU(i32.xor(linear, i32.add(linear, bytes - 1)), 12), probe);
        else probe();
      }
    } else operands.push(...readMemory(f, shared, s, linear, bytes, checkFault));
  } else {
    operands.push(i32.load8u(pc, RECORD.ra));
  }
  if (!isControl(row)) notePointers(f, s, pc, row, offset);

  const status = f.let(call(implementation.run, s, ...(row.mod === "mem" && row.access === "write" ? [] : operands)));
  f.if(i32.eq(status, X87_PENDING), pendingError);
  if (linear && row.access === "write") {
    const at = linear;
    const bytes = MEMORY_BYTES[row.memory as keyof typeof MEMORY_BYTES];
    f.if(i32.eqz(status), () => {
      writeMemory(f, shared, s, at, bytes, checkFault);
      if (implementation.commit) f.do(call(implementation.commit, s));
    });
  }
  f.result(STATUS.next);
  module.define(reference, f.finish());
  return reference;
}

/** Values of a memory operand as the row's function takes them. */
function readMemory(
  f: FunctionWriter,
  shared: SharedFunctions,
  s: Value,
  linear: Value,
  bytes: number,
  checkFault: () => void,
): Value[] {
  const word = (displacement: number, width: 2 | 4): Value => {
    const value = f.let(call(width === 2 ? shared.read16 : shared.read32, s, i32.add(linear, displacement)));
    checkFault();
    return value;
  };
  if (bytes === 2) return [word(0, 2)];
  if (bytes === 4) return [word(0, 4)];
  // A fault behind a page boundary names the boundary, not the word in which it lies.
  const low = word(0, 4);
  const high = word(4, 4);
  const value = f.let(i64.or(i64.shl(i64.extendU(high), 32n), i64.extendU(low)));
  return bytes === 8 ? [value] : [value, word(8, 2)];
}

/** Move `bytes` from the scratch slot to memory, which was probed before. */
function writeMemory(
  f: FunctionWriter,
  shared: SharedFunctions,
  s: Value,
  linear: Value,
  bytes: number,
  checkFault: () => void,
): void {
  for (let at = 0; at < bytes; ) {
    const width = bytes - at >= 4 ? 4 : 2;
    const value = width === 4 ? i32.load(s, FPU_SCRATCH + at) : i32.load16u(s, FPU_SCRATCH + at);
    f.do(call(width === 4 ? shared.write32 : shared.write16, s, i32.add(linear, at), value));
    checkFault();
    at += width;
  }
}

/** FOP, FCS:FIP and, with a memory operand, FDS:FDP. */
function notePointers(f: FunctionWriter, s: Value, pc: Value, row: X87Row, offset: Value | undefined): void {
  f.store32(s, i32.or(i32.load8u(pc, RECORD.rb), (row.opcode & 7) << 8), FIELD.fop.offset);
  f.store32(s, i32.add(i32.load(s, FIELD.startEip.offset), i32.load8u(pc, RECORD.offset)), FIELD.fip.offset);
  f.store32(s, i32.load(s, segmentField(SEG.CS, "selector")), FIELD.fcs.offset);
  if (!offset) return;
  f.store32(s, offset, FIELD.fdp.offset);
  const segment = i32.add(
    s,
    i32.mul(i32.load8u(pc, RECORD.segment), segmentField(1, "selector") - segmentField(0, "selector")),
  );
  f.store32(s, i32.load(segment, segmentField(0, "selector")), FIELD.fds.offset);
}
