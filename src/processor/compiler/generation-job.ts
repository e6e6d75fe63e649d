/**
 * Orders for region code as plain data, which can be sent to another thread. Instructions are not sent: they are decoded
 * there again, from the bytes of their blocks.
 */
import { decode } from "../../isa/decoder.ts";
import { type FeatureTest, opcodeMap } from "../../isa/opcode-map.ts";
import { FORMS } from "../../isa/table.ts";
import { directTargets, isCalled, type RegionBlock, RegionInstruction, type Terminator } from "./blocks.ts";
import type { GeneratedRegion, RegionOrder } from "./generation.ts";
import type { CallOut } from "./region.ts";

/** An order as it is sent. */
export interface PackedOrder {
  readonly mode: number;
  readonly extra: readonly number[];
  readonly profile: boolean;
  /** The graph, number by number. */
  readonly words: Float64Array;
  /** The bytes of its blocks, one behind the other. */
  readonly code: Uint8Array;
  /** CallOuts of the instructions that are called, in order. */
  readonly callOuts: Int32Array;
}

/** Regions that come in one module. */
export interface GenerationJob {
  /** Names of the features of the CPU model, with commas between them. */
  readonly features: string;
  readonly orders: readonly PackedOrder[];
}

/** What becomes of a job. */
export interface GenerationResult {
  /** The module, or its bytes where modules cannot be sent. */
  readonly module: WebAssembly.Module | Uint8Array<ArrayBuffer>;
  /** Bytes of the module. */
  readonly bytes: number;
  /** In the job's order. */
  readonly regions: readonly GeneratedRegion[];
  /** Host ms that it took. */
  readonly milliseconds: number;
}

const KINDS = ["branch", "goto", "indirect", "return", "leave"] as const;
/** Added to the number of a terminator's kind when the block has a place that its call returns to. */
const RETURNS = 8;
/** Words of an operation record, and the arm. */
const CALL_WORDS = 7;

const FEATURE_NAMES: readonly string[] = [...new Set(FORMS.flatMap(({ row }) => row.traits.feature ?? []))];

/** {@link GenerationJob.features} of a CPU model. */
export function featureNames(has: FeatureTest): string {
  return FEATURE_NAMES.filter(has).join();
}

const models = new Map<string, FeatureTest>();

/** The CPU model of {@link featureNames}; the same names give the same function, for which opcodes are resolved once. */
export function modelOf(features: string): FeatureTest {
  let model = models.get(features);
  if (!model) {
    const present = new Set(features.split(","));
    model = (feature) => present.has(feature);
    models.set(features, model);
  }
  return model;
}

/** The order as plain data, with code from `memory`. */
export function packOrder(order: RegionOrder, memory: Uint8Array): PackedOrder {
  const { mode, extra, profile, graph } = order;
  const words: number[] = [graph.instructions, graph.computed ? 1 : 0];
  words.push(graph.pages.length);
  for (const { distance, machine } of graph.pages) words.push(distance, machine);
  words.push(graph.exits.size);
  for (const [exit, offset] of graph.exits) words.push(exit, offset, order.linkTo(exit));
  words.push(graph.targets.size, ...graph.targets, graph.blocks.size);
  const callOuts: number[] = [];
  let bytes = 0;
  for (const { id, offset, machine, instructions, terminator, returnTo } of graph.blocks.values()) {
    const last = instructions.at(-1)!;
    const length = last.offset + last.length - offset;
    words.push(id, offset, machine, instructions.length, length, ...packTerminator(terminator, returnTo));
    bytes += length;
    for (const [position, instruction] of instructions.entries()) {
      if (!isCalled(instruction)) continue;
      const { words: record, arm } = order.callOut(instruction, position + 1);
      callOuts.push(arm, ...record);
    }
  }
  const code = new Uint8Array(bytes);
  let at = 0;
  for (const { machine, offset, instructions } of graph.blocks.values()) {
    const last = instructions.at(-1)!;
    const length = last.offset + last.length - offset;
    code.set(memory.subarray(machine, machine + length), at);
    at += length;
  }
  return { mode, extra, profile, words: Float64Array.from(words), code, callOuts: Int32Array.from(callOuts) };
}

/** Four words: the kind, the places that it goes to, and where a call returns to. */
function packTerminator(terminator: Terminator, returnTo: number | undefined): number[] {
  const kind = KINDS.indexOf(terminator.kind) + (returnTo === undefined ? 0 : RETURNS);
  const [a = 0, b = 0] = directTargets(terminator);
  return [kind, a, b, returnTo ?? 0];
}

function unpackTerminator(kind: number, a: number, b: number): Terminator {
  const name = KINDS[kind]!;
  if (name === "branch") return { kind: name, taken: a, next: b };
  if (name === "goto") return { kind: name, target: a };
  if (name === "return") return { kind: name, to: a };
  return { kind: name };
}

/** What {@link packOrder} was given, for the CPU model of the job. */
export function unpackOrder(packed: PackedOrder, has: FeatureTest): RegionOrder {
  const { words } = packed;
  let at = 0;
  const next = (): number => words[at++]!;
  const instructions = next();
  const computed = next() !== 0;
  const pages = Array.from({ length: next() }, () => ({ distance: next(), machine: next() }));
  const exits = new Map<number, number>();
  const links = new Map<number, number>();
  for (let left = next(); left > 0; left--) {
    const machine = next();
    exits.set(machine, next());
    links.set(machine, next());
  }
  const targets = new Set(Array.from({ length: next() }, next));
  const blocks = new Map<number, RegionBlock>();
  const callOuts = new Map<RegionInstruction, CallOut>();
  let from = 0;
  let callAt = 0;
  for (let left = next(); left > 0; left--) {
    const id = next();
    const offset = next();
    const machine = next();
    const count = next();
    const end = from + next();
    const kind = next();
    const terminator = unpackTerminator(kind & (RETURNS - 1), next(), next());
    const back = next();
    const returnTo = kind & RETURNS ? back : undefined;
    const block = { id, offset, machine, instructions: [] as RegionInstruction[], terminator, returnTo };
    for (let i = 0, start = from; i < count; i++) {
      const instruction = new RegionInstruction();
      instruction.offset = offset + from - start;
      instruction.machine = machine + from - start;
      from += decode(packed.code, from, end, 32, instruction, opcodeMap(has));
      block.instructions.push(instruction);
      if (!isCalled(instruction)) continue;
      const [arm, ...record] = packed.callOuts.subarray(callAt, callAt + CALL_WORDS);
      callOuts.set(instruction, { arm: arm!, words: record });
      callAt += CALL_WORDS;
    }
    blocks.set(id, block);
  }
  return {
    mode: packed.mode,
    extra: packed.extra,
    profile: packed.profile,
    graph: { blocks, pages, instructions, targets, computed, exits },
    linkTo: (machine) => links.get(machine)!,
    callOut: (instruction) => callOuts.get(instruction)!,
  };
}
