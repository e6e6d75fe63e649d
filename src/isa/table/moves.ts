/** Data movement, stack, bit and shift instructions. SDM 1 7.3.1, 7.3.6. */
import { constantOf, i32, i64, type Value } from "../../wasm/expression.ts";
import type { Builder } from "../builder.ts";
import {
  CONDITIONS,
  carryOfBits,
  EFLAGS,
  lazy,
  OSZAPC,
  packFlags,
  signExtend,
  unpackCarry,
  unpackResult,
  withCarry,
  withCarryOverflow,
} from "../flags.ts";
import { type Row, row, type Semantics } from "../row.ts";

const { CF, PF, AF, ZF, SF, OF } = EFLAGS;

/** EFLAGS bits that condition `cc` reads. */
export function conditionReads(cc: number): number {
  return [OF, CF, ZF, CF | ZF, SF, PF, SF | OF, ZF | SF | OF][cc >> 1] ?? 0;
}

/** Register numbers as instructions encode them; AH among the byte registers. */
const ESP = 4;
const EBP = 5;
const AH = 4;
const hexByte = (value: number): string => value.toString(16).toUpperCase().padStart(2, "0");

const move: Semantics = (_m, dst, src) => dst!.write(src!.read());

const moveExtended =
  (signed: boolean): Semantics =>
  (_m, dst, src) => {
    const value = src!.read();
    dst!.write(signed ? signExtend(value, src!.bits) : value);
  };

/** Shifts by 0 change nothing, not even flags, but a memory destination is still written. */
type Shift = (m: Builder, a: Value, count: Value, bits: number) => { result: Value; cf: Value; of: Value };
type ShiftOp = "shl" | "shr" | "sar";

const shl: Shift = (m, a, count, bits) => {
  if (bits === 32) {
    const result = m.let(i32.shl(a, count));
    const cf = m.let(i32.and(i32.shrU(a, i32.sub(0, count)), 1));
    return { result, cf, of: i32.xor(i32.shrU(result, 31), cf) };
  }
  // Counts up to 31 with a 16-bit value need 47 bits.
  const wide = m.let(i64.shl(i64.extendU(a), i64.extendU(count)));
  const result = m.let(i32.wrap(wide));
  const cf = m.let(i32.and(i32.wrap(i64.shrU(wide, BigInt(bits))), 1));
  return { result, cf, of: i32.xor(i32.and(i32.shrU(result, bits - 1), 1), cf) };
};

const shr: Shift = (m, a, count, bits) => {
  const result = m.let(i32.shrU(a, count));
  const cf = m.let(i32.and(i32.shrU(a, i32.sub(count, 1)), 1));
  return { result, cf, of: i32.and(i32.shrU(i32.xor(result, i32.shl(result, 1)), bits - 1), 1) };
};

const sar: Shift = (m, a, count, bits) => {
  const wide = m.let(signExtend(a, bits));
  const result = m.let(i32.shrS(wide, count));
  const cf = m.let(i32.and(i32.shrS(wide, i32.sub(count, 1)), 1));
  return { result, cf, of: i32.const(0) };
};

/** SHL, SHR, SAR: flags from the result; OF is defined for counts of 1 and computed alike for others. */
const shift =
  (op: ShiftOp, kind: Shift): Semantics =>
  (m, dst, by) => {
    const bits = dst!.bits;
    const count = m.let(i32.and(by!.read(), 31));
    const a = dst!.read();
    const known = constantOf(count);
    if (known !== undefined && known > 0) {
      const wide = op === "sar" ? m.let(signExtend(a, bits)) : a;
      const r = m.let((op === "shl" ? i32.shl : op === "shr" ? i32.shrU : i32.shrS)(wide, known));
      dst!.write(r);
      m.setFlagsOf(op, bits, wide, count, r, known);
      return;
    }
    const { result, cf, of } = kind(m, a, count, bits);
    dst!.write(i32.select(count, result, a));
    m.setFlagsIf(count, signExtend(result, bits), carryOfBits(cf, of));
  };

/** ROL and ROR touch CF and OF only. */
const rotate =
  (left: boolean): Semantics =>
  (m, dst, by) => {
    const bits = dst!.bits;
    const count = m.let(i32.and(by!.read(), 31));
    const a = dst!.read();
    const replicated = m.let(bits === 32 ? a : bits === 16 ? i32.mul(a, 0x10001) : i32.mul(a, 0x1010101));
    const result = m.let(left ? i32.rotl(replicated, count) : i32.rotr(replicated, count));
    dst!.write(result);
    const top = i32.and(i32.shrU(result, bits - 1), 1);
    const cf = left ? i32.and(result, 1) : top;
    const of = i32.xor(top, left ? cf : i32.and(i32.shrU(result, bits - 2), 1));
    m.setFlagsIf(count, undefined, withCarryOverflow(m.flagsCarry, cf, of));
  };

/** RCL and RCR rotate through CF: 9-, 17- and 33-bit rotations done in 64 bits. */
const rotateCarry =
  (left: boolean): Semantics =>
  (m, dst, by) => {
    const bits = dst!.bits;
    const masked = i32.and(by!.read(), 31);
    const count = m.let(bits === 32 ? masked : i32.remU(masked, bits + 1));
    const a = dst!.read();
    const cf = m.carryFlag();
    const wide = m.let(i64.or(i64.extendU(a), i64.shl(i64.extendU(cf), BigInt(bits))));
    const forward = m.let(i64.extendU(left ? count : i32.sub(bits + 1, count)));
    const rotated = m.let(i64.or(i64.shl(wide, forward), i64.shrU(wide, i64.sub(BigInt(bits + 1), forward))));
    const result = m.let(i32.wrap(rotated));
    dst!.write(i32.select(count, result, a));
    const out = i32.and(i32.wrap(i64.shrU(rotated, BigInt(bits))), 1);
    const top = i32.and(i32.shrU(result, bits - 1), 1);
    const of = left ? i32.xor(top, out) : i32.xor(top, i32.and(i32.shrU(result, bits - 2), 1));
    m.setFlagsIf(count, undefined, withCarryOverflow(m.flagsCarry, out, of));
  };

/** The six encodings of a shift: by imm8, by 1 and by CL, in byte and operand size. */
function shifts(digit: number): string[] {
  return [
    `C0 /${digit} Eb Ibu`,
    `C1 /${digit} Ev Ibu`,
    `D0 /${digit} Eb 1`,
    `D1 /${digit} Ev 1`,
    `D2 /${digit} Eb CL`,
    `D3 /${digit} Ev CL`,
  ];
}

const SHIFT = { writes: SF | ZF | PF | CF | OF, undefined: AF, reads: OSZAPC, hot: true } as const;
const ROTATE = { writes: CF | OF, reads: OSZAPC } as const;

/** SHLD and SHRD. A 16-bit count above 16 is undefined: what silicon does is a rotation of dst:src:dst. */
const shiftDouble =
  (left: boolean): Semantics =>
  (m, dst, src, by) => {
    const bits = dst!.bits;
    const count = m.let(i32.and(by!.read(), 31));
    const fill = src!.read();
    const a = dst!.read();
    let result: Value;
    let cf: Value;
    if (bits === 32) {
      const back = m.let(i32.sub(0, count));
      result = m.let(
        left ? i32.or(i32.shl(a, count), i32.shrU(fill, back)) : i32.or(i32.shrU(a, count), i32.shl(fill, back)),
      );
      cf = m.let(i32.and(i32.shrU(a, left ? back : i32.sub(count, 1)), 1));
    } else {
      const high = i64.extendU(left ? i32.or(i32.shl(a, 16), fill) : i32.or(i32.shl(fill, 16), a));
      const wide = m.let(
        left ? i64.or(i64.shl(high, 16n), i64.extendU(a)) : i64.or(i64.shl(i64.extendU(a), 32n), high),
      );
      const moved = m.let((left ? i64.shl : i64.shrU)(wide, i64.extendU(count)));
      result = m.let(i32.and(i32.wrap(left ? i64.shrU(moved, 32n) : moved), 0xffff));
      const before = left
        ? i64.shl(wide, i64.extendU(i32.sub(count, 1)))
        : i64.shrU(wide, i64.extendU(i32.sub(count, 1)));
      cf = m.let(i32.and(i32.wrap(left ? i64.shrU(before, 47n) : before), 1));
    }
    dst!.write(i32.select(count, result, a));
    const of = i32.and(i32.shrU(i32.xor(a, result), bits - 1), 1);
    m.setFlagsIf(count, signExtend(result, bits), carryOfBits(cf, of));
  };

/** BT, BTS, BTR, BTC. A register bit offset reaches outside the operand: the bit string starts at its address. */
const bitTest =
  (change: ((value: Value, mask: Value) => Value) | undefined): Semantics =>
  (m, dst, index) => {
    const bits = dst!.bits;
    const position = m.let(i32.and(index!.read(), bits - 1));
    const value = dst!.read();
    const cf = m.let(i32.and(i32.shrU(value, position), 1));
    if (change) dst!.write(change(value, i32.shl(1, position)));
    m.setFlags(undefined, withCarry(m.flagsCarry, cf));
  };

const bitForms = (opcode: string, digit: number): [string, string] => [
  `0F ${opcode} /r Ev Gv`,
  `0F BA /${digit} Ev Ibu`,
];
const BIT = { writes: CF, undefined: OF | SF | AF | PF, reads: ZF, bitString: true } as const;
const BIT_CHANGES: readonly [string, string, number, ((value: Value, mask: Value) => Value) | undefined][] = [
  ["BT", "A3", 4, undefined],
  ["BTS", "AB", 5, (v, k) => i32.or(v, k)],
  ["BTR", "B3", 6, (v, k) => i32.and(v, i32.xor(k, -1))],
  ["BTC", "BB", 7, (v, k) => i32.xor(v, k)],
];

const scan =
  (forward: boolean): Semantics =>
  (m, dst, src) => {
    const value = src!.read();
    // A zero source leaves the destination alone, as every processor since the 386 does.
    const index = forward ? i32.ctz(value) : i32.sub(31, i32.clz(value));
    dst!.write(i32.select(value, index, dst!.read()));
    m.setFlagsOf("logic", src!.bits, value, value, value);
  };

const exchange: Semantics = (_m, dst, src) => {
  const b = src!.read();
  const a = dst!.read();
  dst!.write(b);
  src!.write(a);
};

const byteSwap = (value: Value): Value =>
  i32.or(i32.and(i32.rotl(value, 8), 0x00ff00ff), i32.and(i32.rotr(value, 8), 0xff00ff00 | 0));

export const MOVES: readonly Row[] = [
  row(
    "MOV",
    [
      "88 /r Eb Gb",
      "89 /r Ev Gv",
      "8A /r Gb Eb",
      "8B /r Gv Ev",
      "A0 AL Ob",
      "A1 eAX Ov",
      "A2 Ob AL",
      "A3 Ov eAX",
      "B0+ Zb Ib",
      "B8+ Zv Iz",
      "C6 /0 Eb Ib",
      "C7 /0 Ev Iz",
    ],
    { dst: "w", hot: true },
    move,
  ),
  row("MOVZX", ["0F B6 /r Gv Eb", "0F B7 /r Gv Ew"], { dst: "w", hot: true }, moveExtended(false)),
  row("MOVSX", ["0F BE /r Gv Eb", "0F BF /r Gv Ew"], { dst: "w", hot: true }, moveExtended(true)),
  row("LEA", ["8D /r Gv M"], { dst: "w", hot: true }, (_m, dst, src) => dst!.write(src!.address())),
  row("NOP", ["90"], { hot: true, size: "n" }, () => {}),
  row("PAUSE", ["90"], { prefix: 0xf3, size: "n" }, () => {}),
  row(
    "NOP",
    [
      "0F 1F /r Ev",
      "0F 18 /4 Ev",
      "0F 18 /5 Ev",
      "0F 18 /6 Ev",
      "0F 18 /7 Ev",
      "0F 19 /r Ev",
      "0F 1A /r Ev",
      "0F 1B /r Ev",
      "0F 1C /r Ev",
      "0F 1D /r Ev",
      "0F 1E /r Ev",
      "0F 0D /r Ev",
    ],
    { dst: "r" },
    () => {},
  ),
  row(
    "XCHG",
    [
      "86 /r Eb Gb",
      "87 /r Ev Gv",
      "91 Zv eAX",
      "92 Zv eAX",
      "93 Zv eAX",
      "94 Zv eAX",
      "95 Zv eAX",
      "96 Zv eAX",
      "97 Zv eAX",
    ],
    { lock: true },
    exchange,
  ),
  row("BSWAP", ["0F C8+ Zv"], { hot: true }, (m, dst) => {
    // With a 16-bit operand the result is undefined; processors give zero.
    if (m.bits === 16) dst!.write(0);
    else dst!.write(byteSwap(dst!.read()));
  }),
  row("XLAT", ["D7"], { size: "n", helper: "xlat" }),
  row("LAHF", ["9F"], { reads: SF | ZF | AF | PF | CF, size: "n" }, (m) => {
    const image = packFlags(m.flagsResult, m.flagsCarry);
    m.register(AH, 8).write(i32.or(i32.and(image, SF | ZF | AF | PF | CF), EFLAGS.FIXED));
  }),
  row("SAHF", ["9E"], { reads: OF, writes: SF | ZF | AF | PF | CF, size: "n" }, (m) => {
    const of = i32.mul(lazy.of(m.flagsResult, m.flagsCarry), OF);
    const flags = m.let(i32.or(i32.and(m.register(AH, 8).read(), SF | ZF | AF | PF | CF), of));
    m.setFlags(unpackResult(flags), unpackCarry(flags));
  }),
  row("PUSH", ["50+ Zv", "FF /6 Ev", "68 Iz", "6A Ibs"], { dst: "r", implicit: true, hot: true }, (m, src) =>
    m.push(src!.read(), m.bits),
  ),
  row("POP", ["58+ Zv"], { dst: "w", implicit: true, hot: true }, (m, dst) => {
    const top = m.pop(m.bits);
    top.commit();
    dst!.write(top.value);
  }),
  row("POP", ["8F /0 Ev"], { dst: "w", implicit: true, helper: "popMemory", size: "v" }),
  row("LEAVE", ["C9"], { size: "v", implicit: true }, (m) => {
    const frame = m.register(EBP, 32).read();
    const value = m.readStack(frame, m.bits);
    m.adjustStack(i32.sub(i32.add(frame, m.bits / 8), m.register(ESP, 32).read()));
    m.register(EBP, m.bits).write(value);
  }),
  ...[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15].flatMap((cc) => [
    row(
      `SET${CONDITIONS[cc]}`,
      [`0F ${hexByte(0x90 + cc)} /r Eb`],
      { dst: "w", reads: conditionReads(cc), hot: true },
      (m, dst) => dst!.write(i32.ne(m.condition(cc), 0)),
    ),
    row(
      `CMOV${CONDITIONS[cc]}`,
      [`0F ${hexByte(0x40 + cc)} /r Gv Ev`],
      { reads: conditionReads(cc), feature: "cmov" },
      (m, dst, src) => {
        const value = src!.read();
        dst!.write(i32.select(m.condition(cc), value, dst!.read()));
      },
    ),
  ]),
  row("ROL", shifts(0), ROTATE, rotate(true)),
  row("ROR", shifts(1), ROTATE, rotate(false)),
  row("RCL", shifts(2), { ...ROTATE }, rotateCarry(true)),
  row("RCR", shifts(3), { ...ROTATE }, rotateCarry(false)),
  row("SHL", [...shifts(4), ...shifts(6)], SHIFT, shift("shl", shl)),
  row("SHR", shifts(5), SHIFT, shift("shr", shr)),
  row("SAR", shifts(7), SHIFT, shift("sar", sar)),
  row("SHLD", ["0F A4 /r Ev Gv Ibu", "0F A5 /r Ev Gv CL"], SHIFT, shiftDouble(true)),
  row("SHRD", ["0F AC /r Ev Gv Ibu", "0F AD /r Ev Gv CL"], SHIFT, shiftDouble(false)),
  ...BIT_CHANGES.map(([name, opcode, digit, change]) =>
    row(
      name,
      bitForms(opcode, digit),
      { ...BIT, dst: change ? "rw" : "r", lock: change !== undefined },
      bitTest(change),
    ),
  ),
  row("BSF", ["0F BC /r Gv Ev"], { writes: ZF, undefined: OSZAPC & ~ZF, dst: "rw" }, scan(true)),
  row("BSR", ["0F BD /r Gv Ev"], { writes: ZF, undefined: OSZAPC & ~ZF, dst: "rw" }, scan(false)),
];
