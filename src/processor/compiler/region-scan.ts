/** What the code of a region names and needs, found before it is compiled. */
import { OSZAPC } from "../../isa/flags.ts";
import { isCalled, type RegionInstruction } from "./blocks.ts";
import type { RegionGraph } from "./graph.ts";
import type { VectorUse } from "./region-vectors.ts";
import type { X87Compiler } from "./x87.ts";

/** Instructions on XMM0 without naming it. */
const IMPLIES_XMM0 = /^P?BLENDV|^PCMP[EI]STRM/;

/** Instructions that move whole registers: they say nothing of what the registers hold. */
const COPIES = /^MOV[AU]P[SD]$/;

/** XMM registers that instructions of the region work on, by number, and what most of these instructions do with them. */
export function vectorsNamed(graph: RegionGraph): Map<number, VectorUse> {
  const uses = new Map<number, Record<VectorUse, number>>();
  const name = (number: number, use?: VectorUse): void => {
    let counts = uses.get(number);
    if (!counts) {
      counts = { whole: 0, f32: 0, f64: 0 };
      uses.set(number, counts);
    }
    if (use) counts[use]++;
  };
  for (const { instructions } of graph.blocks.values()) {
    for (const { form, memory, reg, rm } of instructions) {
      const { mnemonic, traits } = form!.row;
      if (traits.vector === undefined) continue;
      if (IMPLIES_XMM0.test(mnemonic)) name(0, "whole");
      for (const code of form!.operands) {
        const inReg = /^V[wdqx]$/.test(code);
        if (!inReg && (memory || !/^[WU][wdqx]$/.test(code))) continue;
        const scalar = code[1] === "q" ? "f64" : code[1] === "d" ? "f32" : "whole";
        name(inReg ? reg : rm, COPIES.test(mnemonic) && !memory ? undefined : scalar);
      }
    }
  }
  return new Map(
    [...uses].map(([number, { whole, f32, f64 }]) => {
      const most = f64 >= f32 ? "f64" : "f32";
      return [number, Math.max(f32, f64) > whole ? most : "whole"];
    }),
  );
}

/** Flags that instructions read before they give all of them a value, and those they give one. */
export function flagNeeds(
  instructions: readonly RegionInstruction[],
  x87: X87Compiler | undefined,
): { reads: number; written: number } {
  let reads = 0;
  let written = 0;
  for (const instruction of instructions) {
    const { traits } = instruction.form!.row;
    if (x87?.inlines(instruction)) {
      const effect = x87.flagEffect(instruction);
      reads |= effect.reads & ~written;
      written |= effect.writes;
      continue;
    }
    // Calls put the flags in order by themselves.
    if (isCalled(instruction)) {
      written = OSZAPC;
      break;
    }
    const touched = ((traits.writes ?? 0) | (traits.undefined ?? 0)) & OSZAPC;
    // A shift keeps the flags when its count is zero only.
    const count = instruction.form!.operands.at(-1);
    const shifts = count === "1" || (count === "Ibu" && (instruction.immediate & 31) !== 0);
    const read = shifts && touched === OSZAPC ? 0 : (traits.reads ?? 0) & OSZAPC;
    reads |= read & ~written;
    written |= touched;
  }
  return { reads, written };
}
