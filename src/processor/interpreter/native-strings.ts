/**
 * Natives: REP MOVS, STOS, SCAS and CMPS on plain memory, page by page. What meets a page that is not in the tables, or
 * an element that crosses one, is left to the helper, which goes on from the registers. SDM 2B REP.
 */
import { carryOfSub, EFLAGS, signExtend } from "../../isa/flags.ts";
import { GPR, SEG, SEG_BASE, SEG_FIELD, SEG_STRIDE } from "../../isa/state.ts";
import { STRING_KIND } from "../../isa/table/control.ts";
import { type I32, i32, i64, type Value } from "../../wasm/expression.ts";
import type { Local } from "../../wasm/function.ts";
import type { Native } from "./native.ts";
import { SHAPE, STATUS } from "./record.ts";

const PAGE = 4096;
/** Elements done in one go; then interrupts get their chance. */
export const MAX_ELEMENTS = 1 << 14;
/**
 * A guest must not keep the host busy for long with few instructions. What a repeated instruction does is counted in
 * units of about one instruction, elements moved in bulk at so many to a unit, and the preemption timer pays for them.
 */
export const BULK_PER_UNIT = 64;
export const NOTED_WORK = 32;
/** Shortest copy and fill for which the engine's bulk instructions are faster than a loop. */
const BULK_ELEMENTS = 16;

/** The registers of a repeated instruction and where its current chunk stands. */
class Repetition {
  readonly m: Native;
  readonly bytes: 1 | 2 | 4;
  readonly shift: number;
  readonly mask: Value;
  readonly down: Value;
  readonly step: Value;
  /** Elements of this go. */
  readonly total: Value;
  /** Elements left of it, and those of the current chunk. */
  readonly left: Local;
  readonly chunk: Local;
  readonly #short: Value;

  constructor(m: Native, bytes: 1 | 2 | 4) {
    const { f } = m;
    this.m = m;
    this.bytes = bytes;
    this.shift = bytes >> 1;
    // There may be a trap behind each element.
    m.bailIf(i32.or(i32.and(m.field("eflags"), EFLAGS.TF), m.field("watching")));
    this.#short = f.let(i32.and(m.record("shape"), SHAPE.address16));
    this.mask = f.let(i32.select(this.#short, 0xffff, -1));
    this.left = f.local("i32");
    f.set(this.left, i32.and(m.gpr(GPR.ecx), this.mask));
    f.if(i32.eqz(this.left.get), () => f.return(STATUS.next));
    const over = i32.gtU(this.left.get, MAX_ELEMENTS);
    f.set(this.left, i32.select(over, MAX_ELEMENTS, this.left.get));
    const total = f.let(this.left.get);
    this.total = total;
    m.beforeHelper = () => m.setField("repeatDone", i32.sub(total, this.left.get));
    this.down = f.let(i32.and(m.field("eflags"), EFLAGS.DF));
    this.step = f.let(i32.select(this.down, -bytes, bytes));
    this.chunk = f.local("i32");
  }

  /** Cut the chunk to what lies at `slot`'s offset in its segment and page; returns the host address of its first element. */
  side(slot: number, segment: Value, write: boolean): Value {
    const { m, bytes, shift, chunk, down } = this;
    const { f } = m;
    const record = f.let(i32.add(m.s, i32.mul(segment, SEG_STRIDE)));
    const part = (name: keyof typeof SEG_FIELD): Value => i32.load(record, SEG_BASE + SEG_FIELD[name]);
    const offset = f.let(i32.and(m.gpr(slot), this.mask));
    const low = f.let(part(write ? "writeLow" : "readLow"));
    const bound = f.let(part(write ? "writeHigh" : "readHigh"));
    // A 16-bit offset wraps before it reaches a larger limit.
    const high = f.let(i32.select(i32.gtU(bound, this.mask), this.mask, bound));
    const linear = f.let(i32.add(part("base"), offset));
    const behind = f.let(i32.sub(high, offset));
    const outside = i32.or(i32.or(i32.ltU(offset, low), i32.gtU(offset, high)), i32.ltU(behind, bytes - 1));
    m.bailIf(outside);
    const at = m.host(f.let(m.field(write ? "writeTable" : "readTable")), linear, bytes);
    const inPage = f.let(i32.and(linear, PAGE - 1));
    const reach = f.let(
      i32.select(
        down,
        minimum(f.let(i32.sub(offset, low)), inPage),
        minimum(f.let(i32.sub(behind, bytes - 1)), f.let(i32.sub(PAGE - bytes, inPage))),
      ),
    );
    f.set(chunk, minimum(chunk.get, f.let(i32.add(i32.shrU(reach, shift), 1))));
    return at;
  }

  /** `count` elements are done. */
  advance(count: Value, slots: readonly number[]): void {
    const { m } = this;
    const { f } = m;
    const by = f.let(i32.mul(count, this.step));
    for (const slot of slots) this.#set(slot, i32.add(m.gpr(slot), by));
    this.#set(GPR.ecx, i32.sub(m.gpr(GPR.ecx), count));
    f.set(this.left, i32.sub(this.left.get, count));
  }

  #set(slot: number, value: Value): void {
    const { f, s } = this.m;
    const bound = f.let(value);
    f.if(
      this.#short,
      () => f.store16(s, bound, slot),
      () => f.store32(s, bound, slot),
    );
  }

  /** Run `body` for each chunk until nothing is left. */
  chunks(body: () => void): void {
    const { f } = this.m;
    f.loop((again) => {
      f.set(this.chunk, this.left.get);
      f.scope(body);
      f.brIf(this.left.get, again);
    });
  }

  /** Leave, `done` elements of the go done: `over` says whether the instruction is complete. */
  finish(done: Value, over: Value): void {
    const { m } = this;
    const { f } = m;
    // Fewer than MAX_ELEMENTS were all there are.
    f.if(i32.ltU(done, NOTED_WORK * BULK_PER_UNIT), () => f.return(STATUS.next));
    // Out of the engine, so that the timer can see how long this took.
    m.setField("extraWork", i32.add(m.field("extraWork"), i32.shrU(done, Math.log2(BULK_PER_UNIT))));
    const current = i32.add(m.field("startEip"), m.record("offset"));
    m.setField("startEip", i32.select(over, m.nextEip(), current));
    f.result(STATUS.exit);
  }
}

function minimum(a: Value, b: Value): Value {
  return i32.select(i32.ltU(a, b), a, b);
}

function loadElement(at: Value, bytes: number): Value {
  return bytes === 1 ? i32.load8u(at) : bytes === 2 ? i32.load16u(at) : i32.load(at);
}

function storeElement(m: Native, at: Value, value: I32, bytes: number): void {
  if (bytes === 1) m.f.store8(at, value);
  else if (bytes === 2) m.f.store16(at, value);
  else m.f.store32(at, value);
}

/** Host address of the lowest of `count` elements of which `first` is the first. */
function lowest(r: Repetition, first: Value, count: Value): Value {
  const { f } = r.m;
  return f.let(i32.sub(first, i32.select(r.down, i32.shl(i32.sub(count, 1), r.shift), 0)));
}

const movs =
  (bytes: 1 | 2 | 4) =>
  (m: Native): void => {
    const { f } = m;
    const r = new Repetition(m, bytes);
    r.chunks(() => {
      const first = r.side(GPR.esi, m.record("segment"), false);
      const to = r.side(GPR.edi, i32.const(SEG.ES), true);
      const count = f.let(r.chunk.get);
      const length = f.let(i32.shl(count, r.shift));
      const distance = f.let(i32.select(r.down, i32.sub(first, to), i32.sub(to, first)));
      // A copy onto what is still to be read replicates, element by element.
      const replicates = i32.ltU(i32.sub(distance, 1), i32.sub(length, 1));
      f.if(
        i32.or(replicates, i32.ltU(count, BULK_ELEMENTS)),
        () => {
          const source = f.temporary("i32");
          const target = f.temporary("i32");
          const end = f.let(i32.add(to, i32.mul(count, r.step)));
          f.set(source, first);
          f.set(target, to);
          f.loop((again) => {
            storeElement(m, target.get, loadElement(source.get, bytes), bytes);
            f.set(source, i32.add(source.get, r.step));
            f.set(target, i32.add(target.get, r.step));
            f.brIf(i32.ne(target.get, end), again);
          });
        },
        () => f.memoryCopy(lowest(r, to, count), lowest(r, first, count), length),
      );
      r.advance(count, [GPR.esi, GPR.edi]);
    });
    finishBulk(r);
  };

/** A go of which every element was moved in bulk is over. */
function finishBulk(r: Repetition): void {
  const { m } = r;
  r.finish(r.total, m.f.let(i32.eqz(i32.and(m.gpr(GPR.ecx), r.mask))));
}

const stos =
  (bytes: 1 | 2 | 4) =>
  (m: Native): void => {
    const { f } = m;
    const r = new Repetition(m, bytes);
    const eax = f.let(m.gpr(GPR.eax));
    const byte = f.let(i32.and(eax, 0xff));
    const word = f.let(
      bytes === 1 ? i32.mul(byte, 0x01010101) : bytes === 2 ? i32.mul(i32.and(eax, 0xffff), 0x10001) : eax,
    );
    const uniform = f.let(i32.eq(word, i32.mul(byte, 0x01010101)));
    const pair = f.let(i64.or(i64.extendU(word), i64.shl(i64.extendU(word), 32n)));
    r.chunks(() => {
      const to = r.side(GPR.edi, i32.const(SEG.ES), true);
      const count = f.let(r.chunk.get);
      const length = f.let(i32.shl(count, r.shift));
      const low = lowest(r, to, count);
      f.if(
        i32.and(uniform, i32.geU(count, BULK_ELEMENTS)),
        () => f.memoryFill(low, byte, length),
        () => {
          const at = f.temporary("i32");
          const end = f.let(i32.add(low, length));
          const pairs = f.let(i32.add(low, i32.and(length, -8)));
          f.set(at, low);
          f.block((done) => {
            f.loop((again) => {
              f.brIf(i32.eq(at.get, pairs), done);
              f.store64(at.get, pair);
              f.set(at, i32.add(at.get, 8));
              f.br(again);
            });
          });
          f.block((done) => {
            f.loop((again) => {
              f.brIf(i32.eq(at.get, end), done);
              storeElement(m, at.get, word, bytes);
              f.set(at, i32.add(at.get, bytes));
              f.br(again);
            });
          });
        },
      );
      r.advance(count, [GPR.edi]);
    });
    finishBulk(r);
  };

/** Lowest and highest bit of each element in eight bytes: there is a zero element in x when (x - low) & ~x & high. */
const LANES = {
  1: { low: 0x0101010101010101n, high: 0x8080808080808080n },
  2: { low: 0x0001000100010001n, high: 0x8000800080008000n },
  4: { low: 0x0000000100000001n, high: 0x8000000080000000n },
} as const;
const GROUP = 8;

/** Non-zero when no element of `difference`, eight bytes of x ^ y, ends the repetition. */
function goesOn(m: Native, bytes: 1 | 2 | 4, difference: Value, whileEqual: Value): Value {
  const { f } = m;
  const x = f.let(difference);
  const lanes = LANES[bytes];
  const anyEqual = i64.and(i64.and(i64.sub(x, lanes.low), i64.xor(x, -1n)), lanes.high);
  return i32.select(whileEqual, i64.eqz(x), i64.eqz(anyEqual));
}

/** SCAS compares with the accumulator, CMPS element by element of two strings. */
const compare =
  (bytes: 1 | 2 | 4, strings: boolean) =>
  (m: Native): void => {
    const { f } = m;
    const r = new Repetition(m, bytes);
    const bits = bytes * 8;
    const whileEqual = f.let(i32.ne(i32.and(m.record("shape"), SHAPE.rep), 0));
    const eax = f.let(loadElement(i32.add(m.s, GPR.eax), bytes));
    const repeated = f.let(bytes === 1 ? i32.mul(eax, 0x01010101) : bytes === 2 ? i32.mul(eax, 0x10001) : eax);
    const pattern = f.let(i64.or(i64.extendU(repeated), i64.shl(i64.extendU(repeated), 32n)));
    const stopped = f.local("i32");
    /** Elements of the go behind the one that stopped it. */
    const remaining = f.local("i32");
    r.chunks(() => {
      const target = r.side(GPR.edi, i32.const(SEG.ES), false);
      const source = strings ? r.side(GPR.esi, m.record("segment"), false) : target;
      const done = f.temporary("i32");
      const a = f.temporary("i32");
      const b = f.temporary("i32");
      const at = f.temporary("i32");
      // Distance from the one string to the other.
      const apart = f.let(i32.sub(source, target));
      const end = f.let(i32.add(target, i32.mul(r.chunk.get, r.step)));
      f.set(at, target);
      // Upwards, eight bytes at a time as far as nothing ends there.
      f.if(i32.eqz(r.down), () => {
        f.block((found) => {
          f.loop((again) => {
            f.brIf(i32.ltU(i32.sub(end, at.get), GROUP + 1), found);
            const x = i64.load(at.get);
            const y = strings ? i64.load(i32.add(at.get, apart)) : pattern;
            f.brIf(i32.eqz(goesOn(m, bytes, i64.xor(x, y), whileEqual)), found);
            f.set(at, i32.add(at.get, GROUP));
            f.br(again);
          });
        });
      });
      f.loop((again) => {
        f.set(b, loadElement(at.get, bytes));
        f.set(a, strings ? loadElement(i32.add(at.get, apart), bytes) : eax);
        f.set(at, i32.add(at.get, r.step));
        f.set(stopped, i32.xor(i32.eq(a.get, b.get), whileEqual));
        f.brIf(i32.eqz(i32.or(stopped.get, i32.eq(at.get, end))), again);
      });
      const difference = f.let(i32.sub(a.get, b.get));
      m.setField("flagsResult", signExtend(difference, bits));
      m.setField("flagsCarry", carryOfSub(a.get, b.get, difference, bits));
      const span = f.let(i32.sub(at.get, target));
      f.set(done, i32.shrU(i32.select(r.down, i32.sub(0, span), span), r.shift));
      r.advance(done.get, strings ? [GPR.esi, GPR.edi] : [GPR.edi]);
      f.if(stopped.get, () => {
        f.set(remaining, r.left.get);
        f.set(r.left, 0);
      });
    });
    const all = f.let(i32.eqz(i32.and(m.gpr(GPR.ecx), r.mask)));
    r.finish(f.let(i32.sub(r.total, remaining.get)), i32.or(stopped.get, all));
  };

/** By `repeat:kind:bytes`. */
export const STRING_NATIVES: Readonly<Record<string, (m: Native) => void>> = Object.fromEntries(
  ([1, 2, 4] as const).flatMap((bytes) => [
    [`repeat:${STRING_KIND.MOVS}:${bytes}`, movs(bytes)],
    [`repeat:${STRING_KIND.STOS}:${bytes}`, stos(bytes)],
    [`repeat:${STRING_KIND.SCAS}:${bytes}`, compare(bytes, false)],
    [`repeat:${STRING_KIND.CMPS}:${bytes}`, compare(bytes, true)],
  ]),
);
