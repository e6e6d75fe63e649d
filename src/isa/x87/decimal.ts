/** Packed decimal: 18 digits and a sign in 10 bytes (SDM 1 8.2.2, figure 8-14). */
import { i32, i64 } from "../../wasm/expression.ts";
import type { FunctionReference, ModuleWriter } from "../../wasm/module.ts";
import { FCW, FSW, OUTCOME, SCRATCH } from "./constants.ts";
import { define, invoke, signOf, variable } from "./emit.ts";
import type { Rounding } from "./round.ts";

export interface Decimal {
  /** (digits: low 16, top: last two digits and sign) → i64 magnitude; digits above 9 count as they stand. */
  readonly fromDecimal: FunctionReference;
  /** (s, signExponent, significand, fcw) → flags: FBSTP's ten bytes at SCRATCH.value. */
  readonly toDecimal: FunctionReference;
}

const LARGEST = 999_999_999_999_999_999n;
/** Bytes of digits; the tenth byte holds the sign. */
const DIGIT_BYTES = 9;
/** Packed decimal indefinite. */
const INDEFINITE_DECIMAL = { low: 0xc000_0000_0000_0000n, high: 0xffff } as const;

function defineFromDecimal(module: ModuleWriter): FunctionReference {
  return define(module, ["i64", "i32"], "i64", (f, digits, top) => {
    const high = i32.and(top, 0xff);
    const tens = (byte: typeof high): typeof high => i32.add(i32.mul(i32.shrU(byte, 4), 10), i32.and(byte, 0xf));
    const value = variable(f, "i64", i64.extendU(tens(high)));
    const left = variable(f, "i64", digits);
    const count = variable(f, "i32", DIGIT_BYTES - 1);
    f.loop((again) => {
      const byte = f.let(i32.wrap(i64.shrU(left.get, 56n)));
      f.set(value, i64.add(i64.mul(value.get, 100n), i64.extendU(tens(byte))));
      f.set(left, i64.shl(left.get, 8n));
      f.set(count, i32.sub(count.get, 1));
      f.brIf(count.get, again);
    });
    f.result(value.get);
  });
}

function defineToDecimal(module: ModuleWriter, rounding: Rounding): FunctionReference {
  return define(module, ["i32", "i32", "i64", "i32"], "i32", (f, s, signExponent, significand, fcw) => {
    const value = f.let(invoke(rounding.toInteger, s, signExponent, significand, fcw, 64));
    const negative = i64.ltS(value, 0n);
    const magnitude = variable(f, "i64", i64.select(negative, i64.sub(0n, value), value));
    // Catches the 64-bit indefinite too: its magnitude is 2^63.
    f.if(i64.gtU(magnitude.get, LARGEST), () => {
      f.store64(s, INDEFINITE_DECIMAL.low, SCRATCH.value);
      f.store16(s, INDEFINITE_DECIMAL.high, SCRATCH.value + 8);
      f.return(i32.select(i32.and(fcw, FCW.IM), FSW.IE, FSW.IE | OUTCOME.suppressed));
    });
    const address = variable(f, "i32", s);
    const end = f.let(i32.add(s, DIGIT_BYTES));
    f.loop((again) => {
      const quotient = f.let(i64.divU(magnitude.get, 100n));
      const pair = f.let(i32.wrap(i64.sub(magnitude.get, i64.mul(quotient, 100n))));
      const tens = f.let(i32.divU(pair, 10));
      // tens·16 + units, with units = pair - tens·10.
      f.store8(address.get, i32.add(pair, i32.mul(tens, 6)), SCRATCH.value);
      f.set(magnitude, quotient);
      f.set(address, i32.add(address.get, 1));
      f.brIf(i32.ltU(address.get, end), again);
    });
    f.store8(s, i32.shrU(signOf(signExponent), 8), SCRATCH.value + DIGIT_BYTES);
    f.result(i32.load(s, SCRATCH.outcome));
  });
}

/** Define the packed-decimal conversions in `module`. */
export function defineDecimal(module: ModuleWriter, rounding: Rounding): Decimal {
  return { fromDecimal: defineFromDecimal(module), toDecimal: defineToDecimal(module, rounding) };
}
