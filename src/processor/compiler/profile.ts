/** What can be told of a compiled region: how much it ran, and its code, the guest's and the generated. For people. */
import { disassemble } from "../../isa/disassembler.ts";
import { functionText } from "../../wasm/text.ts";
import { isCopy } from "./blocks.ts";
import type { RegionGraph } from "./graph.ts";

/** One region. */
export interface RegionProfile {
  /** Machine offset of the code it was made for, and its mode key. */
  readonly machine: number;
  readonly mode: number;
  /** Times it was entered. */
  readonly entries: number;
  /** Guest instructions executed in it; 0 unless it was compiled to count them. */
  readonly executed: number;
  /** Guest instructions that it consists of. */
  readonly instructions: number;
  /** Bytes of WebAssembly. */
  readonly bytes: number;
  /** Its guest code by machine offset, a line each. */
  guest(): string[];
  /** Its WebAssembly as text. */
  generated(): string[];
}

/** All that was compiled. */
export interface CompilerProfile {
  /** Regions installed, and modules that they came in. */
  readonly regions: number;
  readonly modules: number;
  /** Bytes of WebAssembly made, and guest instructions that they stand for; bytes still kept. */
  readonly bytes: number;
  readonly instructions: number;
  readonly kept: number;
  /** Regions dropped because their code was written to, and because room was needed. */
  readonly dropped: number;
  readonly evicted: number;
  /** Host ms that generating took on the vCPU's thread, and on one of its own; the engine's own compilers not included. */
  readonly milliseconds: number;
  readonly elsewhere: number;
  /** Times that regions were entered, and instructions executed in them. */
  readonly entries: number;
  readonly executed: number;
  /** Installed regions, in no order. */
  readonly installed: readonly RegionProfile[];
}

const hexadecimal = (value: number): string => (value >>> 0).toString(16).padStart(8, "0");

/** The guest's code, block by block. Addresses are distances from the page of the first block. */
export function guestText(graph: RegionGraph, memory: Uint8Array): string[] {
  const lines: string[] = [];
  for (const block of graph.blocks.values()) {
    lines.push(`${block.offset.toString(16)}:${isCopy(block) ? " (copy for a call)" : ""}`);
    for (const { machine, offset, length } of block.instructions) {
      const { text } = disassemble(memory.subarray(machine, machine + length), 0, { bits: 32, address: offset });
      lines.push(`  ${hexadecimal(machine)}  ${text}`);
    }
  }
  return lines;
}

/** The function of a module that holds one region. */
export function generatedText(module: Uint8Array): string[] {
  return functionText(module, "region0");
}
