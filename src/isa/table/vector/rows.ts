/** How vector rows are written: availability, prefixes and features around their semantics. */
import { i32 } from "../../../wasm/expression.ts";
import type { Builder } from "../../builder.ts";
import { type Row, row, type Semantics, type Traits } from "../../row.ts";
import { MMX_STATE } from "../../vector/constants.ts";

/** From x87 to MMX: TOP is 0 and every register valid. After whatever may fault. */
export function enterMmx(m: Builder, tags: number = MMX_STATE.full): void {
  m.setField("fsw", i32.and(m.field("fsw"), ~MMX_STATE.top));
  m.setField("ftw", tags);
}

/** Mandatory prefixes by the names that {@link sse} takes: none, 66, F3, F2. */
const PREFIX = { np: 0, p66: 0x66, f3: 0xf3, f2: 0xf2 } as const;
export type Prefix = keyof typeof PREFIX;

/** A row on XMM registers. */
export function sse(
  mnemonic: string,
  prefix: Prefix,
  encodings: readonly string[],
  feature: string,
  semantics: Semantics,
  traits: Traits = {},
): Row {
  return row(
    mnemonic,
    encodings,
    { dst: "w", size: "d", prefix: PREFIX[prefix], feature, vector: "sse", ...traits },
    (m, ...operands) => {
      m.vectorAvailable("sse");
      semantics(m, ...operands);
    },
  );
}

/** A row on MMX registers. */
export function mmx(
  mnemonic: string,
  encodings: readonly string[],
  feature: string,
  semantics: Semantics,
  traits: Traits = {},
): Row {
  return row(
    mnemonic,
    encodings,
    { dst: "w", size: "d", prefix: 0, feature, vector: "mmx", ...traits },
    (m, ...operands) => {
      m.vectorAvailable("mmx");
      semantics(m, ...operands);
      enterMmx(m);
    },
  );
}

/** A row on XMM and MMX registers. */
export function mixed(
  mnemonic: string,
  prefix: Prefix,
  encodings: readonly string[],
  feature: string,
  semantics: Semantics,
  traits: Traits = {},
): Row {
  const body: Semantics = (m, ...operands) => {
    m.vectorAvailable("mmx");
    semantics(m, ...operands);
    enterMmx(m);
  };
  return sse(mnemonic, prefix, encodings, feature, body, traits);
}
