/** System instructions: segments, descriptor tables, control registers, I/O, MSRs. SDM 1 7.3.10–7.3.15, SDM 2. */
import { i32 } from "../../wasm/expression.ts";
import { EFLAGS, OSZAPC } from "../flags.ts";
import { type Row, row } from "../row.ts";

const { ZF, IF, VIF } = EFLAGS;

const IOPL_SHIFT = 12;
const SEGMENT_LOAD = { dst: "w" } as const;

export const SYSTEM: readonly Row[] = [
  row("MOV", ["8C /r Ev Sw"], { dst: "w", helper: "moveFromSegment" }),
  row("MOV", ["8E /r Sw Ew"], { ...SEGMENT_LOAD, helper: "moveToSegment" }),
  row("PUSH", ["06 ES"], { dst: "r", size: "v", helper: "pushSegment", argument: 0 }),
  row("PUSH", ["0E CS"], { dst: "r", size: "v", helper: "pushSegment", argument: 1 }),
  row("PUSH", ["16 SS"], { dst: "r", size: "v", helper: "pushSegment", argument: 2 }),
  row("PUSH", ["1E DS"], { dst: "r", size: "v", helper: "pushSegment", argument: 3 }),
  row("PUSH", ["0F A0 FS"], { dst: "r", size: "v", helper: "pushSegment", argument: 4 }),
  row("PUSH", ["0F A8 GS"], { dst: "r", size: "v", helper: "pushSegment", argument: 5 }),
  row("POP", ["07 ES"], { ...SEGMENT_LOAD, size: "v", helper: "popSegment", argument: 0 }),
  row("POP", ["17 SS"], { ...SEGMENT_LOAD, ends: true, size: "v", helper: "popSegment", argument: 2 }),
  row("POP", ["1F DS"], { ...SEGMENT_LOAD, size: "v", helper: "popSegment", argument: 3 }),
  row("POP", ["0F A1 FS"], { ...SEGMENT_LOAD, size: "v", helper: "popSegment", argument: 4 }),
  row("POP", ["0F A9 GS"], { ...SEGMENT_LOAD, size: "v", helper: "popSegment", argument: 5 }),
  row("LES", ["C4 /r Gv Mp"], { ...SEGMENT_LOAD, helper: "loadFarPointer", argument: 0 }),
  row("LSS", ["0F B2 /r Gv Mp"], { ...SEGMENT_LOAD, ends: true, helper: "loadFarPointer", argument: 2 }),
  row("LDS", ["C5 /r Gv Mp"], { ...SEGMENT_LOAD, helper: "loadFarPointer", argument: 3 }),
  row("LFS", ["0F B4 /r Gv Mp"], { ...SEGMENT_LOAD, helper: "loadFarPointer", argument: 4 }),
  row("LGS", ["0F B5 /r Gv Mp"], { ...SEGMENT_LOAD, helper: "loadFarPointer", argument: 5 }),
  row("CLI", ["FA"], { size: "n", writes: IF | VIF, helper: "cli" }, (m) => {
    const flags = m.let(m.field("eflags"));
    m.helperIf(i32.ltU(i32.and(i32.shrU(flags, IOPL_SHIFT), 3), m.field("cpl")));
    m.setField("eflags", i32.and(flags, ~IF));
  }),
  row("STI", ["FB"], { size: "n", writes: IF | VIF, helper: "sti" }),
  row("HLT", ["F4"], { size: "n", ends: true, exit: 12, helper: "hlt" }),
  row("IN", ["E4 AL Ibu", "E5 eAX Ibu", "EC AL DX", "ED eAX DX"], { dst: "w", exit: 30, helper: "in" }),
  row("OUT", ["E6 Ibu AL", "E7 Ibu eAX", "EE DX AL", "EF DX eAX"], { dst: "r", exit: 30, helper: "out" }),
  row("ARPL", ["63 /r Ew Gw"], { writes: ZF, helper: "arpl" }),
  row("LAR", ["0F 02 /r Gv Ew"], { dst: "rw", writes: ZF, helper: "lar" }),
  row("LSL", ["0F 03 /r Gv Ew"], { dst: "rw", writes: ZF, helper: "lsl" }),
  row("SLDT", ["0F 00 /0 Ev"], { dst: "w", helper: "sldt", argument: 6 }),
  row("STR", ["0F 00 /1 Ev"], { dst: "w", helper: "sldt", argument: 7 }),
  row("LLDT", ["0F 00 /2 Ew"], { dst: "r", helper: "lldt" }),
  row("LTR", ["0F 00 /3 Ew"], { dst: "r", helper: "ltr" }),
  row("VERR", ["0F 00 /4 Ew"], { dst: "r", writes: ZF, helper: "verify", argument: 0 }),
  row("VERW", ["0F 00 /5 Ew"], { dst: "r", writes: ZF, helper: "verify", argument: 1 }),
  row("SGDT", ["0F 01 /0 Ms"], { dst: "w", size: "v", helper: "storeTable", argument: 0 }),
  row("SIDT", ["0F 01 /1 Ms"], { dst: "w", size: "v", helper: "storeTable", argument: 1 }),
  row("LGDT", ["0F 01 /2 Ms"], { dst: "r", size: "v", helper: "loadTable", argument: 0 }),
  row("LIDT", ["0F 01 /3 Ms"], { dst: "r", size: "v", helper: "loadTable", argument: 1 }),
  row("SMSW", ["0F 01 /4 Ev"], { dst: "w", helper: "smsw" }),
  row("LMSW", ["0F 01 /6 Ew"], { dst: "r", ends: true, exit: 28, helper: "lmsw" }),
  row("INVLPG", ["0F 01 /7 mem Mb"], { dst: "r", size: "n", ends: true, exit: 14, helper: "invlpg" }),
  row("VMCALL", ["0F 01 /0 :1"], { size: "n", ends: true, exit: 18, helper: "vmcall" }),
  row("CLTS", ["0F 06"], { size: "n", ends: true, exit: 28, helper: "clts" }),
  row("INVD", ["0F 08"], { size: "n", exit: 13, helper: "invd" }),
  row("WBINVD", ["0F 09"], { size: "n", exit: 54, helper: "wbinvd" }),
  row("MOV", ["0F 20 /r Rd Cd"], { dst: "w", size: "d", exit: 28, helper: "moveFromControl" }),
  row("MOV", ["0F 21 /r Rd Dd"], { dst: "w", size: "d", exit: 29, helper: "moveFromDebug" }),
  row("MOV", ["0F 22 /r Cd Rd"], { dst: "w", size: "d", ends: true, exit: 28, helper: "moveToControl" }),
  row("MOV", ["0F 23 /r Dd Rd"], { dst: "w", size: "d", ends: true, exit: 29, helper: "moveToDebug" }),
  row("WRMSR", ["0F 30"], { size: "n", ends: true, exit: 32, feature: "msr", helper: "wrmsr" }),
  row("RDTSC", ["0F 31"], { size: "n", exit: 16, feature: "tsc", helper: "rdtsc" }),
  row("RDMSR", ["0F 32"], { size: "n", exit: 31, feature: "msr", helper: "rdmsr" }),
  row("RDPMC", ["0F 33"], { size: "n", exit: 15, helper: "rdpmc" }),
  row("SYSENTER", ["0F 34"], { size: "n", ends: true, feature: "sep", helper: "sysenter" }),
  row("SYSEXIT", ["0F 35"], { size: "n", ends: true, feature: "sep", helper: "sysexit" }),
  row("CPUID", ["0F A2"], { size: "n", exit: 10, helper: "cpuid" }),
  row("RSM", ["0F AA"], { size: "n", ends: true, writes: OSZAPC, helper: "undefined" }),
  row("CMPXCHG8B", ["0F C7 /1 Mq"], { writes: ZF, lock: true, size: "n", feature: "cx8", helper: "cmpxchg8b" }),
];
