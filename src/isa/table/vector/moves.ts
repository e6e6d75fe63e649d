/** Moves between vector registers, memory and general registers. SDM 2 under each name. */
import { i32, i64 } from "../../../wasm/expression.ts";
import { i8x16, i64x2 } from "../../../wasm/simd.ts";
import type { Row, Semantics } from "../../row.ts";
import { DOUBLE, SINGLE } from "../../vector/checks.ts";
import { readFloat, writeFloat } from "./lanes.ts";
import { mixed, mmx, sse } from "./rows.ts";

const move: Semantics = (_m, dst, src) => dst!.write(src!.read());

/** Whole registers. */
const moveWhole: Semantics = (m, dst, src) => {
  if (dst!.vector && src!.vector) dst!.vector.copy(src!.vector);
  else move(m, dst, src);
};

/** To a register operand: the rest of the register is cleared. */
const moveZeroing: Semantics = (_m, dst, src) => {
  const value = src!.read();
  if (dst!.vector) dst!.vector.setScalar(value);
  else dst!.write(value);
};

/** MOVSS and MOVSD from memory clear what lies above; between registers they leave it. */
const moveScalar: Semantics = (m, dst, src) => {
  const lanes = src!.bits === 64 ? DOUBLE : SINGLE;
  const value = readFloat(lanes, src!);
  if (src!.memory) {
    dst!.vector!.setScalar(value);
    return;
  }
  const ordinary = m.isOrdinary(src!);
  writeFloat(lanes, dst!, value);
  if (ordinary) m.noteOrdinary(dst!);
};

const UNALIGNED = { unaligned: true } as const;

/** Into the high half; the source is memory of 64 bits, or the low half of a register. */
const loadHigh: Semantics = (_m, dst, src) => {
  const value = src!.read();
  const register = dst!.vector!;
  register.set(i64x2.replace(register.get(), 1, value));
};

const storeHigh: Semantics = (_m, dst, src) => dst!.write(i64x2.extract(src!.vector!.get(), 1));

/** Between general registers, memory of 32 bits, and vector registers. */
const toMmx: Semantics = (_m, dst, src) => dst!.vector!.set(i64.extendU(src!.read()));
const fromMmx: Semantics = (m, dst, src) => dst!.write(m.let(i32.wrap(src!.vector!.get())));

export const VECTOR_MOVES: readonly Row[] = [
  sse("MOVUPS", "np", ["0F 10 /r Vx Wx", "0F 11 /r Wx Vx"], "sse", moveWhole, UNALIGNED),
  sse("MOVUPD", "p66", ["0F 10 /r Vx Wx", "0F 11 /r Wx Vx"], "sse2", moveWhole, UNALIGNED),
  sse("MOVSS", "f3", ["0F 10 /r Vd Wd"], "sse", moveScalar),
  sse("MOVSS", "f3", ["0F 11 /r Wd Vd"], "sse", moveScalar),
  sse("MOVSD", "f2", ["0F 10 /r Vq Wq"], "sse2", moveScalar),
  sse("MOVSD", "f2", ["0F 11 /r Wq Vq"], "sse2", moveScalar),
  sse("MOVHLPS", "np", ["0F 12 /r Vq Ux"], "sse", (_m, dst, src) => dst!.write(i64x2.extract(src!.read(), 1))),
  sse("MOVLPS", "np", ["0F 12 /r Vq Mq"], "sse", move),
  sse("MOVLPS", "np", ["0F 13 /r Mq Vq"], "sse", move),
  sse("MOVLPD", "p66", ["0F 12 /r Vq Mq"], "sse2", move),
  sse("MOVLPD", "p66", ["0F 13 /r Mq Vq"], "sse2", move),
  sse("MOVLHPS", "np", ["0F 16 /r Vx Uq"], "sse", loadHigh),
  sse("MOVHPS", "np", ["0F 16 /r Vx Mq"], "sse", loadHigh),
  sse("MOVHPS", "np", ["0F 17 /r Mq Vx"], "sse", storeHigh),
  sse("MOVHPD", "p66", ["0F 16 /r Vx Mq"], "sse2", loadHigh),
  sse("MOVHPD", "p66", ["0F 17 /r Mq Vx"], "sse2", storeHigh),
  sse("MOVSLDUP", "f3", ["0F 12 /r Vx Wx"], "sse3", (m, dst, src) => {
    const a = m.let(src!.read());
    dst!.write(i8x16.shuffle(a, a, [0, 1, 2, 3, 0, 1, 2, 3, 8, 9, 10, 11, 8, 9, 10, 11]));
  }),
  sse("MOVSHDUP", "f3", ["0F 16 /r Vx Wx"], "sse3", (m, dst, src) => {
    const a = m.let(src!.read());
    dst!.write(i8x16.shuffle(a, a, [4, 5, 6, 7, 4, 5, 6, 7, 12, 13, 14, 15, 12, 13, 14, 15]));
  }),
  sse("MOVDDUP", "f2", ["0F 12 /r Vx Wq"], "sse3", (_m, dst, src) => dst!.write(i64x2.splat(src!.read()))),
  sse("MOVAPS", "np", ["0F 28 /r Vx Wx", "0F 29 /r Wx Vx"], "sse", moveWhole),
  sse("MOVAPD", "p66", ["0F 28 /r Vx Wx", "0F 29 /r Wx Vx"], "sse2", moveWhole),
  sse("MOVNTPS", "np", ["0F 2B /r Mx Vx"], "sse", move),
  sse("MOVNTPD", "p66", ["0F 2B /r Mx Vx"], "sse2", move),
  sse("MOVNTDQ", "p66", ["0F E7 /r Mx Vx"], "sse2", move),
  sse("MOVNTDQA", "p66", ["0F 38 2A /r Vx Mx"], "sse4_1", move),
  sse("MOVDQA", "p66", ["0F 6F /r Vx Wx", "0F 7F /r Wx Vx"], "sse2", moveWhole),
  sse("MOVDQU", "f3", ["0F 6F /r Vx Wx", "0F 7F /r Wx Vx"], "sse2", moveWhole, UNALIGNED),
  sse("LDDQU", "f2", ["0F F0 /r Vx Mx"], "sse3", move, UNALIGNED),
  sse("MOVD", "p66", ["0F 6E /r Vd Ed"], "sse2", moveZeroing),
  sse("MOVD", "p66", ["0F 7E /r Ed Vd"], "sse2", move),
  sse("MOVQ", "f3", ["0F 7E /r Vq Wq"], "sse2", moveZeroing),
  sse("MOVQ", "p66", ["0F D6 /r Wq Vq"], "sse2", moveZeroing),
  mmx("MOVD", ["0F 6E /r Pq Ed"], "mmx", toMmx),
  mmx("MOVD", ["0F 7E /r Ed Pq"], "mmx", fromMmx),
  mmx("MOVQ", ["0F 6F /r Pq Qq", "0F 7F /r Qq Pq"], "mmx", move),
  mmx("MOVNTQ", ["0F E7 /r Mq Pq"], "sse", move),
  mixed("MOVDQ2Q", "f2", ["0F D6 /r Pq Uq"], "sse2", move),
  mixed("MOVQ2DQ", "f3", ["0F D6 /r Vq Nq"], "sse2", moveZeroing),
];
