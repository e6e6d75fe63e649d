/** Control transfers and string instructions. SDM 1 7.3.8, 7.3.9. */
import { i32 } from "../../wasm/expression.ts";
import type { Builder } from "../builder.ts";
import { CONDITIONS, EFLAGS, OSZAPC, packFlags, unpackCarry, unpackResult } from "../flags.ts";
import { type Row, row, type Semantics } from "../row.ts";
import { flagsSub } from "./arithmetic.ts";
import { conditionReads } from "./moves.ts";

const { IF, TF, OF, DF, NT, RF, AC, ID, IOPL, VM, VIF, VIP, ZF } = EFLAGS;
/** VMX control "interrupt-window exiting" (SDM 3C 25.6.2). */
const INTERRUPT_WINDOW = 1 << 2;
const hexByte = (value: number): string => value.toString(16).toUpperCase().padStart(2, "0");

/** An EIP cut to the operand size. */
const cut = (m: Builder, eip: ReturnType<typeof i32.const>) => (m.bits === 16 ? i32.and(eip, 0xffff) : eip);

const loop =
  (extra: "none" | "z" | "nz"): Semantics =>
  (m) => {
    const count = m.let(i32.sub(m.readCounter(), 1));
    const left = m.let(i32.select(m.address16, i32.and(count, 0xffff), count));
    const nonZero = i32.ne(left, 0);
    const zf = i32.eqz(m.flagsResult);
    const taken = m.let(extra === "none" ? nonZero : i32.and(nonZero, extra === "z" ? zf : i32.eqz(zf)));
    m.f.if(taken, () => m.checkTarget(m.let(m.branchTarget())));
    m.writeCounter(count);
    m.branchIf(taken);
  };

/** LODS, STOS, MOVS, SCAS, CMPS without a repeat prefix; repeated ones run in bulk in the engine's string helper. */
const lods: Semantics = (m) => {
  const value = m.readString("source", 6, m.bits);
  m.register(0, m.bits).write(value);
  m.advance(6, m.bits);
};
const stos: Semantics = (m) => {
  m.writeString(7, m.register(0, m.bits).read(), m.bits);
  m.advance(7, m.bits);
};
const movs: Semantics = (m) => {
  m.writeString(7, m.readString("source", 6, m.bits), m.bits);
  m.advance(6, m.bits);
  m.advance(7, m.bits);
};
const scas: Semantics = (m) => {
  const a = m.register(0, m.bits).read();
  const b = m.readString("es", 7, m.bits);
  m.advance(7, m.bits);
  flagsSub(m, a, b, m.let(i32.sub(a, b)), m.bits);
};
const cmps: Semantics = (m) => {
  // The second operand is accessed first, as silicon does: it decides which fault is raised.
  const b = m.readString("es", 7, m.bits);
  const a = m.readString("source", 6, m.bits);
  m.advance(6, m.bits);
  m.advance(7, m.bits);
  flagsSub(m, a, b, m.let(i32.sub(a, b)), m.bits);
};

/** Virtual-8086 mode has rules of its own. */
const pushf: Semantics = (m) => {
  const flags = m.let(m.field("eflags"));
  m.helperIf(i32.and(flags, VM));
  const image = i32.or(i32.or(flags, EFLAGS.FIXED), packFlags(m.flagsResult, m.flagsCarry));
  m.push(i32.and(image, ~(VM | RF)), m.bits);
};
const popf: Semantics = (m) => {
  const old = m.let(m.field("eflags"));
  m.helperIf(i32.and(old, VM));
  const top = m.pop(m.bits);
  const value = m.let(top.value);
  // A trap behind this instruction, or an interrupt that waits: the processor must have a look.
  m.helperIf(i32.or(i32.and(value, TF), i32.and(m.field("procControls"), INTERRUPT_WINDOW)));
  const cpl = m.let(m.field("cpl"));
  const mayIf = i32.geU(i32.and(i32.shrU(old, 12), 3), cpl);
  const byPrivilege = i32.or(i32.select(mayIf, IF, 0), i32.select(cpl, 0, IOPL));
  const mask = m.let(i32.or(byPrivilege, TF | DF | NT | (m.bits === 32 ? AC | ID : 0)));
  const kept = i32.and(i32.and(old, ~RF), i32.xor(mask, -1));
  top.commit();
  m.setField("eflags", i32.or(kept, i32.and(value, mask)));
  m.setFlags(unpackResult(value), unpackCarry(value));
};

const STRING = { implicit: true, reads: DF } as const;
const BRANCH = { ends: true, hot: true, implicit: true } as const;

/** Byte and operand-size rows of a string instruction. Names end in B and W/D. */
function string(
  name: string,
  opcode: number,
  repeat: "rep" | "repz",
  argument: number,
  traits: object,
  semantics?: Semantics,
): Row[] {
  const helper = semantics ? {} : { helper: name.toLowerCase() };
  return [
    row(`${name}B`, [hexByte(opcode)], { ...STRING, size: "b", repeat, argument, ...helper, ...traits }, semantics),
    row(
      `${name}W`,
      [hexByte(opcode + 1)],
      { ...STRING, size: "v", repeat, argument, names: [`${name}W`, `${name}D`], ...helper, ...traits },
      semantics,
    ),
  ];
}

/** Numbers by which the repeat helper knows a string instruction. */
export const STRING_KIND = { MOVS: 0, CMPS: 1, STOS: 2, LODS: 3, SCAS: 4, INS: 5, OUTS: 6 } as const;

export const CONTROL: readonly Row[] = [
  ...CONDITIONS.map((name, cc) =>
    row(
      `J${name}`,
      [`${hexByte(0x70 + cc)} Jb`, `0F ${hexByte(0x80 + cc)} Jz`],
      { ...BRANCH, size: "v", reads: conditionReads(cc), condition: cc },
      (m) => m.branchIf(m.condition(cc)),
    ),
  ),
  row("JMP", ["EB Jb", "E9 Jz"], { ...BRANCH, size: "v" }, (m) => m.branch()),
  row("JMP", ["FF /4 Ev"], { ...BRANCH, dst: "r" }, (m, target) => {
    const eip = m.let(cut(m, target!.read()));
    m.checkTarget(eip);
    m.jump(eip);
  }),
  row("CALL", ["E8 Jz"], { ...BRANCH, size: "v", implicit: true }, (m) => {
    m.checkTarget(m.let(m.branchTarget()));
    m.push(m.nextEip(), m.bits);
    m.branch();
  }),
  row("CALL", ["FF /2 Ev"], { ...BRANCH, dst: "r", implicit: true }, (m, target) => {
    const eip = m.let(cut(m, target!.read()));
    m.checkTarget(eip);
    m.push(m.nextEip(), m.bits);
    m.jump(eip);
  }),
  row("RET", ["C3"], { ...BRANCH, size: "v", implicit: true }, (m) => {
    const top = m.pop(m.bits);
    m.checkTarget(top.value);
    top.commit();
    m.jump(top.value);
  }),
  row("RET", ["C2 Iw"], { ...BRANCH, size: "v", implicit: true }, (m, bytes) => {
    const top = m.pop(m.bits);
    m.checkTarget(top.value);
    top.commit();
    m.adjustStack(bytes!.read());
    m.jump(top.value);
  }),
  row("LOOPNE", ["E0 Jb"], { ...BRANCH, size: "v", reads: ZF }, loop("nz")),
  row("LOOPE", ["E1 Jb"], { ...BRANCH, size: "v", reads: ZF }, loop("z")),
  row("LOOP", ["E2 Jb"], { ...BRANCH, size: "v" }, loop("none")),
  row("JCXZ", ["E3 Jb"], { ...BRANCH, size: "v", names: ["JCXZ", "JECXZ"], namedByAddress: true }, (m) => {
    const count = m.readCounter();
    m.branchIf(i32.eqz(i32.select(m.address16, i32.and(count, 0xffff), count)));
  }),
  ...string("MOVS", 0xa4, "rep", STRING_KIND.MOVS, {}, movs),
  ...string("CMPS", 0xa6, "repz", STRING_KIND.CMPS, { writes: OSZAPC }, cmps),
  ...string("STOS", 0xaa, "rep", STRING_KIND.STOS, {}, stos),
  ...string("LODS", 0xac, "rep", STRING_KIND.LODS, {}, lods),
  ...string("SCAS", 0xae, "repz", STRING_KIND.SCAS, { writes: OSZAPC }, scas),
  ...string("INS", 0x6c, "rep", STRING_KIND.INS, { ends: true, exit: 30 }),
  ...string("OUTS", 0x6e, "rep", STRING_KIND.OUTS, { ends: true, exit: 30 }),
  row("CLD", ["FC"], { writes: DF, size: "n" }, (m) => m.setField("eflags", i32.and(m.field("eflags"), ~DF))),
  row("STD", ["FD"], { writes: DF, size: "n" }, (m) => m.setField("eflags", i32.or(m.field("eflags"), DF))),
  row("CALL", ["9A Ap"], { ends: true, helper: "callFarPointer" }),
  row("CALL", ["FF /3 Mp"], { ends: true, dst: "r", helper: "callFarMemory" }),
  row("JMP", ["EA Ap"], { ends: true, helper: "jumpFarPointer" }),
  row("JMP", ["FF /5 Mp"], { ends: true, dst: "r", helper: "jumpFarMemory" }),
  row("RETF", ["CB"], { ends: true, size: "v", helper: "returnFar" }),
  row("RETF", ["CA Iw"], { ends: true, size: "v", helper: "returnFar" }),
  row("IRET", ["CF"], {
    ends: true,
    size: "v",
    writes: OSZAPC | IF | TF | DF | IOPL | NT | RF | AC | ID | VM | VIF | VIP,
    helper: "iret",
    names: ["IRET", "IRETD"],
  }),
  row("INT", ["CD Ib"], { ends: true, size: "n", writes: IF | TF | NT | RF | VM, helper: "int" }),
  row("INT3", ["CC"], { ends: true, size: "n", writes: IF | TF | NT | RF | VM, helper: "int3" }),
  row("INTO", ["CE"], { ends: true, size: "n", reads: OF, writes: IF | TF | NT | RF | VM, helper: "into" }),
  row("ICEBP", ["F1"], { ends: true, size: "n", helper: "icebp" }),
  row("BOUND", ["62 /r Gv Ma"], { dst: "r", helper: "bound" }),
  row("ENTER", ["C8 Iw Ib"], { size: "v", helper: "enter" }),
  row("PUSHA", ["60"], { size: "v", helper: "pusha", names: ["PUSHA", "PUSHAD"] }),
  row("POPA", ["61"], { size: "v", helper: "popa", names: ["POPA", "POPAD"] }),
  row("PUSHF", ["9C"], { size: "v", implicit: true, reads: -1, helper: "pushf", names: ["PUSHF", "PUSHFD"] }, pushf),
  row(
    "POPF",
    ["9D"],
    {
      size: "v",
      implicit: true,
      writes: OSZAPC | IF | TF | DF | IOPL | NT | AC | ID | VIF,
      helper: "popf",
      names: ["POPF", "POPFD"],
    },
    popf,
  ),
  row("UD0", ["0F FF /r Gd Ed"], { ends: true, dst: "r", helper: "undefined" }),
  row("UD1", ["0F B9 /r Gd Ed"], { ends: true, dst: "r", helper: "undefined" }),
  row("UD2", ["0F 0B"], { ends: true, size: "n", helper: "undefined" }),
];
