/** What the code of a region names and needs, found before it is compiled. */
import { OSZAPC } from "../../isa/flags.ts";
import { isCalled, type RegionInstruction } from "./blocks.ts";
import type { RegionGraph } from "./graph.ts";
import type { X87Compiler } from "./x87.ts";

/** Instructions on XMM0 without naming it. */
const IMPLIES_XMM0 = /^P?BLENDV|^PCMP[EI]STRM/;

/** Numbers of the XMM registers that instructions of the region work on. */
export function vectorsNamed(graph: RegionGraph): Set<number> {
  const named = new Set<number>();
  for (const { instructions } of graph.blocks.values()) {
    for (const { form, memory, reg, rm } of instructions) {
      if (form!.row.traits.vector === undefined) continue;
      if (IMPLIES_XMM0.test(form!.row.mnemonic)) named.add(0);
      for (const code of form!.operands) {
        if (/^V[wdqx]$/.test(code)) named.add(reg);
        else if (/^[WU][wdqx]$/.test(code) && !memory) named.add(rm);
      }
    }
  }
  return named;
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
