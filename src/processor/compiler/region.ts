/**
 * Compiles one region to a WebAssembly function: (code) → what to do next, see NEXT. Registers and flags live in locals
 * from its entries to its exits; loops of the guest are loops of the function; a computed jump whose target lies in the
 * region goes through a dispatcher. The budget is checked wherever a cycle closes, and it is exact.
 */

import { formBits } from "../../isa/decoder.ts";
import { EFLAGS } from "../../isa/flags.ts";
import { FIELD, type FieldName, GPR } from "../../isa/state.ts";
import { call, constantOf, type I32, i32, i64, type Value } from "../../wasm/expression.ts";
import { FunctionWriter, type Label, type Local } from "../../wasm/function.ts";
import type { FunctionReference } from "../../wasm/module.ts";
import { CODE_REF, NEXT, STATUS } from "../interpreter/record.ts";
import {
  EXECUTE_TABLE,
  REGION_INSTRUCTIONS,
  REGION_RECORD,
  SHADOW,
  STATE,
  USER_TABLES,
  WRITE_TABLE,
} from "../memory-map.ts";
import { hostAddress, PLAIN_TEST } from "../shadow.ts";
import { FlagState, type KnownFlags, NEED, UNKNOWN_FLAGS } from "./flag-state.ts";
import { isCalled, type RegionBlock, type RegionGraph, type RegionInstruction } from "./graph.ts";
import { LAZY_FLAGS } from "./lazy-flags.ts";
import { RegionBuilder } from "./region-builder.ts";
import type { RegionModule } from "./region-module.ts";
import { flagNeeds, vectorsNamed } from "./region-scan.ts";
import { VectorLocal } from "./region-vectors.ts";
import { type Item, structure } from "./structure.ts";
import { X87Compiler } from "./x87.ts";
import { planX87 } from "./x87-plan.ts";

/** How an instruction without semantics is carried out: words of its operation record, and which function takes it. */
export interface CallOut {
  readonly words: readonly number[];
  /** Slot of the interpreter's table, or -1 for a TypeScript helper. */
  readonly arm: number;
}

/** What a region is compiled for. */
export interface RegionTarget {
  /** Mode key with its privilege. */
  readonly mode: number;
  readonly user: boolean;
  /** Describes an instruction that must be called, as the `count`th of its block. */
  callOut(instruction: RegionInstruction, count: number): CallOut;
  /** Whether the block at this machine offset may be entered from outside the region. */
  isEntry(block: RegionBlock): boolean;
  /** Count the instructions executed. */
  readonly profile: boolean;
}

/** A block at which the region can be entered; its position in the list is its index in code references. */
export interface RegionEntry {
  readonly offset: number;
  readonly machine: number;
  /** Position in {@link RegionGraph.pages} of the page it lies in. */
  readonly page: number;
}

export interface CompiledRegion {
  readonly reference: FunctionReference;
  readonly entries: readonly RegionEntry[];
  /** Bytes of WebAssembly. */
  readonly bytes: number;
}

const REGISTERS = Object.values(GPR);
const PAGE = 4096;

/** Packing of the x87's depth at each entry into constants. */
const DEPTH_BITS = 4;
const DEPTHS_A_WORD = 64 / DEPTH_BITS;

/** Position of the count in what a leaving instruction says: bytes from the origin, and instructions not done. */
const WHERE_SHIFT = 8;

interface Node {
  readonly block: RegionBlock;
  readonly successors: number[];
  need: number;
  /** Index among the entries, or -1. */
  entry: number;
  /** Edges that lead here. */
  arrivals: number;
  /** Loop entries check the budget. */
  checked: boolean;
  /** What a predecessor that was written before has left in the flag locals. */
  known: KnownFlags | undefined;
  written: boolean;
}

/** Compile `graph`, whose first block is the main entry, into `module`. */
export function compileRegion(module: RegionModule, graph: RegionGraph, target: RegionTarget): CompiledRegion {
  return new RegionCompiler(module, graph, target).compile();
}

class RegionCompiler {
  readonly #module: RegionModule;
  readonly #graph: RegionGraph;
  readonly #target: RegionTarget;
  readonly #reference: FunctionReference;
  readonly #f: FunctionWriter;
  readonly #nodes: Node[] = [];
  readonly #numbers = new Map<number, number>();
  readonly #entries: RegionEntry[] = [];
  /** Number of the dispatcher, behind the blocks. */
  #dispatcher = 0;
  #items: Item[] = [];
  readonly #registers: Local[];
  /** XMM registers that instructions of the region name. */
  readonly #vectors: ReadonlyMap<number, VectorLocal>;
  readonly #flagLocals;
  readonly #flags: FlagState;
  readonly #builder: RegionBuilder;
  /** Absent where the region has no x87 code that it writes. */
  readonly #x87: X87Compiler | undefined;
  readonly #budget: Local;
  /** Budget at the entry, for profiles. */
  readonly #before: Local;
  readonly #base: Local;
  /** EIP at which the dispatcher, or an exit, goes on. */
  readonly #eip: Local;
  /** Entry that the dispatcher, or a loop with several entries, goes to. */
  readonly #next: Local;
  readonly #result: Local;
  readonly #where: Local;
  readonly #status: Local;
  /** Where the last call inside the region returns to, and the entry there. */
  readonly #returnEip: Local;
  readonly #returnEntry: Local;
  readonly #epoch: Local;
  /** PLAIN_TEST: a constant that takes six bytes where a local takes two. Engines see through it. */
  readonly #plainTest: Local;
  /** Whether the region calls helpers or arms, and whether it jumps to computed places. */
  #called = false;
  #jumps = false;
  readonly #labels = new Map<number, Branch>();
  #leaveLabel!: Label;
  #exitLabel!: Label;
  #lookupLabel!: Label;
  #outcomeLabel!: Label;
  #bounds = new Map<number, number>();
  /** What {@link RegionContext.leave} says about the current instruction. */
  #leaving = 0;
  readonly #tables: { readonly read: number; readonly write: number; readonly execute: number };

  constructor(module: RegionModule, graph: RegionGraph, target: RegionTarget) {
    this.#module = module;
    this.#graph = graph;
    this.#target = target;
    this.#reference = module.declareRegion();
    const f = new FunctionWriter(this.#reference.type);
    this.#f = f;
    const local = (): Local => f.local("i32");
    this.#registers = REGISTERS.map(local);
    this.#vectors = new Map([...vectorsNamed(graph)].map(([number, use]) => [number, new VectorLocal(f, number, use)]));
    this.#budget = local();
    this.#before = local();
    this.#base = local();
    this.#flagLocals = { kind: local(), a: local(), r: local(), c: local() };
    this.#eip = local();
    this.#next = local();
    this.#result = local();
    this.#where = local();
    this.#status = local();
    this.#returnEip = local();
    this.#returnEntry = local();
    this.#epoch = local();
    this.#plainTest = local();
    const read = SHADOW.readSupervisor + (target.user ? USER_TABLES : 0);
    this.#tables = { read, write: read + WRITE_TABLE, execute: read + EXECUTE_TABLE };
    this.#flags = new FlagState(f, this.#flagLocals, {
      result: () => module.importI32(LAZY_FLAGS.result, 4),
      carry: () => module.importI32(LAZY_FLAGS.carry, 4),
    });
    this.#builder = new RegionBuilder({
      f,
      module,
      flags: this.#flags,
      registers: this.#registers,
      vectors: this.#vectors,
      base: this.#base.get,
      plainTest: this.#plainTest.get,
      readTable: this.#tables.read,
      writeTable: this.#tables.write,
      leave: () => this.#leave(),
      leaveIf: (condition) => this.#leaveIf(condition),
      note: () => this.#note(),
      leaveNotedIf: (condition) => this.#leaveNotedIf(condition),
    });
    const plan = planX87(graph);
    this.#x87 =
      plan &&
      new X87Compiler({
        f,
        module,
        plan,
        builder: this.#builder,
        base: this.#base.get,
        leaveIf: (condition) => this.#leaveIf(condition),
      });
  }

  compile(): CompiledRegion {
    this.#buildNodes();
    const f = this.#f;
    const prologue = f.size;
    f.block((exit) => {
      this.#exitLabel = exit;
      f.block((lookup) => {
        this.#lookupLabel = lookup;
        f.block((leave) => {
          this.#leaveLabel = leave;
          f.block((outcome) => {
            this.#outcomeLabel = outcome;
            this.#sequence(this.#items);
          });
          if (this.#called) this.#callEnded();
        });
        this.#left();
        f.br(exit);
      });
      f.set(this.#result, call(this.#lookup(), this.#eip.get));
    });
    this.#epilogue();
    f.insert(prologue, () => this.#prologue());
    this.#module.define(this.#reference, f);
    return { reference: this.#reference, entries: this.#entries, bytes: f.size };
  }

  #lookup(): FunctionReference {
    return this.#module.lookup(this.#target.mode, this.#tables.execute);
  }

  #field(name: FieldName): Value {
    return i32.load(STATE, FIELD[name].offset);
  }

  #setField(name: FieldName, value: I32): void {
    this.#f.store32(STATE, value, FIELD[name].offset);
  }

  // ---- the graph ------------------------------------------------------------------------------------------------

  #buildNodes(): void {
    const blocks = [...this.#graph.blocks.values()];
    for (const [number, block] of blocks.entries()) this.#numbers.set(block.offset, number);
    this.#dispatcher = blocks.length;
    this.#jumps = blocks.some(({ terminator }) => terminator.kind === "indirect");
    for (const block of blocks) {
      this.#nodes.push({
        block,
        successors: this.#successors(block),
        need: NEED.none,
        entry: -1,
        arrivals: 0,
        checked: false,
        known: undefined,
        written: false,
      });
    }
    const loops = new Set<number>();
    const collect = (items: readonly Item[]): void => {
      for (const item of items) {
        if (item.kind !== "loop") continue;
        for (const entry of item.entries) loops.add(entry);
        collect(item.body);
      }
    };
    // Without the dispatcher's edges: loops as the guest has them. Their heads are entries, for whoever comes back
    // from an interrupt, and so are places that calls return to.
    collect(structure([...this.#nodes.map((node) => node.successors), []], 0));
    const entries = new Set<number>([0, ...loops]);
    for (const node of this.#nodes) {
      const back = node.block.returnTo;
      const number = back === undefined ? undefined : this.#numbers.get(back);
      if (number !== undefined) entries.add(number);
    }
    for (const [number, node] of this.#nodes.entries()) if (this.#target.isEntry(node.block)) entries.add(number);
    for (const number of [...entries].slice(0, CODE_REF.entries)) this.#addEntry(number);
    const edges = this.#nodes.map((node) =>
      node.block.terminator.kind === "indirect" ? [this.#dispatcher] : node.successors,
    );
    edges.push([...this.#nodes.keys()].filter((number) => this.#nodes[number]!.entry >= 0));
    for (const targets of edges) {
      for (const to of targets) if (to !== this.#dispatcher) this.#nodes[to]!.arrivals++;
    }
    this.#items = structure(edges, this.#dispatcher);
    const mark = (items: readonly Item[]): void => {
      for (const item of items) {
        if (item.kind !== "loop") continue;
        for (const entry of item.entries) if (entry !== this.#dispatcher) this.#nodes[entry]!.checked = true;
        mark(item.body);
      }
    };
    mark(this.#items);
    this.#computeNeeds();
  }

  /** Direct successors inside the region, the one that a fall-through reaches last: it is then placed next. */
  #successors(block: RegionBlock): number[] {
    const { terminator } = block;
    const offsets =
      terminator.kind === "branch"
        ? [terminator.taken, terminator.next]
        : terminator.kind === "goto"
          ? [terminator.target]
          : [];
    return offsets.flatMap((offset) => this.#numbers.get(offset) ?? []);
  }

  #addEntry(number: number): void {
    const node = this.#nodes[number]!;
    const { offset, machine } = node.block;
    node.entry = this.#entries.length;
    const page = this.#graph.pages.findIndex((p) => p.distance === offset >> 12);
    this.#entries.push({ offset, machine, page });
  }

  /** Which flags each block needs from those before it: a backward fixed point. */
  #computeNeeds(): void {
    const needs = this.#nodes.map(({ block }) => flagNeeds(block.instructions, this.#x87));
    const live = needs.map((n) => n.reads);
    for (let changed = true; changed; ) {
      changed = false;
      for (let number = this.#nodes.length - 1; number >= 0; number--) {
        let out = 0;
        for (const next of this.#nodes[number]!.successors) out |= live[next]!;
        const now = needs[number]!.reads | (out & ~needs[number]!.written);
        if (now === live[number]) continue;
        live[number] = now;
        changed = true;
      }
    }
    for (const [number, node] of this.#nodes.entries()) {
      const flags = live[number]!;
      node.need = flags === 0 ? NEED.none : flags === EFLAGS.CF ? NEED.carry : NEED.all;
    }
  }

  /** Most instructions executed from the start of a block to the next look at the budget. */
  #bound(number: number): number {
    const known = this.#bounds.get(number);
    if (known !== undefined) return known;
    const node = this.#nodes[number]!;
    let behind = 0;
    for (const next of node.successors) if (!this.#nodes[next]!.checked) behind = Math.max(behind, this.#bound(next));
    const bound = node.block.instructions.length + behind;
    this.#bounds.set(number, bound);
    return bound;
  }

  // ---- structure ------------------------------------------------------------------------------------------------

  /** Write items in order, each behind the end of a block that branches to it leave; `dispatch` comes before all. */
  #sequence(items: readonly Item[], dispatch?: () => void): void {
    const nest = (index: number): void => {
      if (index < 0) {
        dispatch?.();
        return;
      }
      const item = items[index]!;
      // Nothing but a dispatcher comes before the first.
      if (index > 0 || dispatch) {
        this.#f.block((label) => {
          this.#label(item, label);
          nest(index - 1);
        });
      }
      this.#item(item, items[index + 1]);
    };
    nest(items.length - 1);
  }

  #label(item: Item, label: Label): void {
    if (item.kind === "node") this.#labels.set(item.node, { label, select: -1 });
    else {
      const several = item.entries.length > 1;
      for (const [i, entry] of item.entries.entries()) this.#labels.set(entry, { label, select: several ? i : -1 });
    }
  }

  #item(item: Item, following: Item | undefined): void {
    const f = this.#f;
    // A branch to what comes right behind is no branch at all.
    const fallsTo = following?.kind === "node" ? following.node : -1;
    if (item.kind === "node") {
      if (item.node === this.#dispatcher) this.#dispatch();
      else this.#block(item.node, fallsTo);
      return;
    }
    f.loop((head) => {
      this.#label(item, head);
      if (item.entries.length === 1) this.#sequence(item.body);
      else {
        this.#sequence(item.body, () => {
          const inner = item.entries.map((entry) => this.#labels.get(entry)!.label);
          // Inside the body, a branch to an entry is one back to the head.
          this.#label(item, head);
          f.brTable(this.#next.get, inner, inner[0]!);
        });
      }
      f.unreachable();
    });
  }

  /** Go to a node. */
  #branch(number: number): void {
    const { label, select } = this.#labels.get(number)!;
    if (select >= 0) this.#f.set(this.#next, select);
    this.#f.br(label);
  }

  /** Choose the entry that `next` names; `eip` is its address. */
  #dispatch(): void {
    const f = this.#f;
    this.#x87?.state.align(this.#depthOfEntry());
    let bound = 0;
    const targets = this.#entries.map((entry) => this.#numbers.get(entry.offset)!);
    for (const number of targets) if (!this.#nodes[number]!.checked) bound = Math.max(bound, this.#bound(number));
    if (bound > 0) {
      f.unlikely(i32.ltS(this.#budget.get, bound), () => {
        f.set(this.#result, NEXT.budget);
        f.br(this.#exitLabel);
      });
    }
    if (targets.length === 1) {
      this.#enter(targets[0]!);
      return;
    }
    const open = (index: number, labels: Label[]): void => {
      if (index < 0) {
        f.brTable(this.#next.get, labels, labels[0]!);
        return;
      }
      f.block((label) => {
        labels[index] = label;
        open(index - 1, labels);
      });
      this.#enter(targets[index]!);
    };
    open(targets.length - 1, []);
  }

  /** Slot of the x87's ST(0) at the entry that `next` names. */
  #depthOfEntry(): Value {
    const depths = this.#entries.map(({ offset }) => this.#x87!.depthOf(this.#graph.blocks.get(offset)!));
    const words: bigint[] = [];
    for (const [i, depth] of depths.entries()) {
      const word = Math.floor(i / DEPTHS_A_WORD);
      words[word] = (words[word] ?? 0n) | (BigInt(depth) << BigInt((i % DEPTHS_A_WORD) * DEPTH_BITS));
    }
    if (depths.every((depth) => depth === depths[0])) return i32.const(depths[0]!);
    const next = this.#next.get;
    let word: Value = i64.const(words[0]!);
    for (let i = 1; i < words.length; i++) word = i64.select(i32.geU(next, i * DEPTHS_A_WORD), words[i]!, word);
    const shift = i32.mul(i32.and(next, DEPTHS_A_WORD - 1), DEPTH_BITS);
    return i32.and(i32.wrap(i64.shrU(word, i64.extendU(shift))), (1 << DEPTH_BITS) - 1);
  }

  /** From the dispatcher into a block, with flags as it needs them. */
  #enter(number: number): void {
    this.#flags.begin(UNKNOWN_FLAGS);
    this.#flags.finish(this.#nodes[number]!.need);
    this.#branch(number);
  }

  // ---- blocks ---------------------------------------------------------------------------------------------------

  #block(number: number, fallsTo: number): void {
    this.#f.scope(() => this.#blockBody(number, fallsTo));
  }

  #blockBody(number: number, fallsTo: number): void {
    const f = this.#f;
    const node = this.#nodes[number]!;
    const { block } = node;
    const count = block.instructions.length;
    node.written = true;
    if (node.checked) {
      f.unlikely(i32.ltS(this.#budget.get, this.#bound(number)), () => {
        f.set(this.#eip, this.#at(block.offset));
        f.set(this.#result, NEXT.budget);
        f.br(this.#exitLabel);
      });
    }
    f.set(this.#budget, i32.sub(this.#budget.get, count));
    this.#flags.begin(this.#arrivingFlags(node));
    this.#builder.beginBlock();
    this.#x87?.beginBlock(block);
    for (const [position, instruction] of block.instructions.entries()) {
      this.#leaving = (instruction.offset << WHERE_SHIFT) | (count - position);
      if (this.#x87?.inlines(instruction)) this.#x87.instruction(instruction);
      else if (isCalled(instruction)) this.#callOut(instruction, position + 1);
      else this.#builder.instruction(instruction, formBits(instruction.form!, instruction.operandSize));
    }
    this.#end(node, fallsTo);
  }

  /** Address of a place in the region. */
  #at(offset: number): Value {
    return i32.add(this.#base.get, offset);
  }

  /** Whether a block takes the flags as its only predecessor, yet to be written, leaves them. */
  #isToldFlags(node: Node): boolean {
    return node.arrivals === 1 && !node.written;
  }

  /** What is known of the flags when a block begins: with a single way to come, what its predecessor left. */
  #arrivingFlags(node: Node): KnownFlags {
    if (node.arrivals === 1 && node.known) return node.known;
    if (node.need === NEED.all) return { kind: 0, carryValid: true };
    return { kind: undefined, carryValid: node.need === NEED.carry };
  }

  #end(node: Node, fallsTo: number): void {
    const f = this.#f;
    const { block, successors } = node;
    const { terminator } = block;
    const ending = this.#builder.ending;
    let need: number = NEED.none;
    // A block that is reached from here only will be told how they stand.
    for (const next of successors)
      if (!this.#isToldFlags(this.#nodes[next]!)) need = Math.max(need, this.#nodes[next]!.need);
    let condition = terminator.kind === "branch" && ending?.kind === "branch" ? ending.condition : undefined;
    // Read before the flags are put in order for those behind.
    if (condition && this.#flags.concerns(condition)) condition = f.let(condition);
    this.#flags.finish(need);
    this.#x87?.state.settle();
    for (const next of successors) this.#nodes[next]!.known = this.#flags.known();
    if (this.#jumps && block.returnTo !== undefined) {
      const back = this.#numbers.get(block.returnTo);
      const entry = back === undefined ? -1 : this.#nodes[back]!.entry;
      if (entry >= 0) {
        f.set(this.#returnEip, this.#at(block.returnTo));
        f.set(this.#returnEntry, entry);
      }
    }
    switch (terminator.kind) {
      case "branch":
        this.#branchEnd(terminator.taken, terminator.next, condition!, fallsTo);
        return;
      case "goto":
        this.#goto(terminator.target, fallsTo);
        return;
      case "indirect":
        if (ending?.kind !== "indirect") throw new RangeError("an indirect jump without a target");
        this.#indirect(ending.eip);
        return;
      default: {
        // Whatever the instruction changed, the interpreter finds out.
        const last = block.instructions.at(-1)!;
        f.set(this.#eip, this.#at(last.offset + last.length));
        f.set(this.#result, NEXT.dispatch);
        f.br(this.#exitLabel);
      }
    }
  }

  #branchEnd(taken: number, next: number, condition: Value, fallsTo: number): void {
    const f = this.#f;
    const known = constantOf(condition);
    if (known !== undefined) {
      this.#goto(known !== 0 ? taken : next, fallsTo);
      return;
    }
    const takenNode = this.#numbers.get(taken);
    const fits = takenNode === undefined || (this.#x87?.fits(this.#nodes[takenNode]!.block) ?? true);
    if (takenNode !== undefined && takenNode === fallsTo && fits) {
      f.if(i32.eqz(condition), () => this.#goto(next, -1));
      return;
    }
    const plain = takenNode === undefined ? undefined : this.#labels.get(takenNode);
    if (plain && plain.select < 0 && fits) f.brIf(condition, plain.label);
    else f.if(condition, () => this.#goto(taken, -1));
    this.#goto(next, takenNode === fallsTo ? -1 : fallsTo);
  }

  /** Go to a direct target, inside the region or outside. */
  #goto(offset: number, fallsTo: number): void {
    const number = this.#numbers.get(offset);
    if (number !== undefined) {
      const { block } = this.#nodes[number]!;
      if (this.#x87?.fits(block) === false) this.#x87.state.rebase(this.#x87.depthOf(block));
      if (number !== fallsTo) this.#branch(number);
      return;
    }
    this.#f.set(this.#eip, this.#at(offset));
    this.#f.br(this.#lookupLabel);
  }

  /** Go to a computed target: by the last call's return address, by the dispatcher, or out. */
  #indirect(eip: Value): void {
    const f = this.#f;
    f.set(this.#eip, eip);
    f.if(i32.eq(this.#eip.get, this.#returnEip.get), () => {
      f.set(this.#next, this.#returnEntry.get);
      this.#branch(this.#dispatcher);
    });
    f.set(this.#result, call(this.#lookup(), this.#eip.get));
    const own = i32.shrU(i32.xor(this.#result.get, f.params[0]!.get), CODE_REF.slotShift);
    f.brIf(own, this.#exitLabel);
    f.set(this.#next, i32.and(this.#result.get, CODE_REF.entryMask));
    this.#branch(this.#dispatcher);
  }

  // ---- leaving --------------------------------------------------------------------------------------------------

  /** Say where the current instruction stands. */
  #note(): void {
    this.#f.set(this.#where, this.#leaving);
  }

  #leave(): void {
    this.#x87?.state.flush();
    this.#note();
    this.#f.br(this.#leaveLabel);
  }

  #leaveIf(condition: I32): void {
    this.#note();
    this.#leaveNotedIf(condition);
  }

  #leaveNotedIf(condition: I32): void {
    if (this.#x87?.state.pending) {
      this.#f.unlikely(condition, () => {
        this.#x87?.state.flush();
        this.#f.br(this.#leaveLabel);
      });
    } else this.#f.brIf(condition, this.#leaveLabel, true);
  }

  /** Behind the leave label: nothing of the current instruction has happened. */
  #left(): void {
    const f = this.#f;
    f.set(this.#eip, i32.add(this.#base.get, i32.shrS(this.#where.get, WHERE_SHIFT)));
    const undone = i32.and(this.#where.get, (1 << WHERE_SHIFT) - 1);
    f.set(this.#budget, i32.add(this.#budget.get, undone));
    f.set(this.#result, i32.select(i32.geS(this.#field("faultVector"), 0), NEXT.fault, NEXT.interpret));
  }

  /** Call a helper or an arm for an instruction that has no semantics here. */
  #callOut(instruction: RegionInstruction, count: number): void {
    const f = this.#f;
    this.#called = true;
    this.#flags.makeExplicit();
    this.#builder.forgetRegisters();
    this.#storeRegisters(this.#builder.used);
    this.#x87?.state.settle();
    this.#x87?.state.store();
    this.#setField("flagsResult", this.#flagLocals.r.get);
    this.#setField("flagsCarry", this.#flagLocals.c.get);
    this.#setField("startEip", this.#at(instruction.offset));
    // Helpers that look at the time expect the budget as it was at the start of the block.
    const undone = this.#leaving & ((1 << WHERE_SHIFT) - 1);
    this.#setField("budget", i32.add(this.#budget.get, undone + count - 1));
    const { words, arm } = this.#target.callOut(instruction, count);
    for (const [i, word] of words.entries()) f.store32(REGION_RECORD + i * 4, word);
    const link = words.at(-1)!;
    const status =
      arm < 0
        ? call(this.#module.importI32("helper", 2), link, REGION_RECORD)
        : call(this.#module.importI32("arm", 2), arm, REGION_RECORD);
    f.set(this.#status, status);
    this.#loadRegisters(this.#builder.used);
    this.#x87?.afterCall(instruction);
    f.set(this.#flagLocals.r, this.#field("flagsResult"));
    f.set(this.#flagLocals.c, this.#field("flagsCarry"));
    f.unlikely(this.#status.get, () => {
      f.set(this.#where, this.#leaving);
      f.br(this.#outcomeLabel);
    });
    // The call may have written to the region's own code.
    f.unlikely(i32.ne(this.#field("codeEpoch"), this.#epoch.get), () => {
      f.set(this.#eip, this.#at(instruction.offset + instruction.length));
      f.set(this.#budget, i32.add(this.#budget.get, undone - 1));
      f.set(this.#result, NEXT.dispatch);
      f.br(this.#exitLabel);
    });
    this.#flags.setExplicit();
  }

  /** Behind the outcome label: a call said something else than to go on. */
  #callEnded(): void {
    const f = this.#f;
    f.brIf(i32.eq(this.#status.get, STATUS.fault), this.#leaveLabel);
    f.set(this.#eip, this.#field("startEip"));
    const undone = i32.sub(i32.and(this.#where.get, (1 << WHERE_SHIFT) - 1), 1);
    f.set(this.#budget, i32.add(this.#budget.get, undone));
    f.set(this.#result, i32.select(i32.eq(this.#status.get, STATUS.jump), NEXT.dispatch, NEXT.exit));
    f.br(this.#exitLabel);
  }

  /** Store the general registers of which `which` has the bits, and the XMM registers. */
  #storeRegisters(which: number): void {
    for (const [i, offset] of REGISTERS.entries())
      if (which & (1 << i)) this.#f.store32(STATE, this.#registers[i]!.get, offset);
    for (const vector of this.#vectors.values()) vector.store();
  }

  #loadRegisters(which: number): void {
    for (const [i, offset] of REGISTERS.entries())
      if (which & (1 << i)) this.#f.set(this.#registers[i]!, i32.load(STATE, offset));
    for (const vector of this.#vectors.values()) vector.load();
  }

  #prologue(): void {
    const f = this.#f;
    const code = f.params[0]!.get;
    f.set(this.#eip, this.#field("eip"));
    const { pages } = this.#graph;
    const page = i32.and(i32.shrU(code, CODE_REF.pageShift), CODE_REF.pageMask);
    let distance: Value = i32.const(pages[0]!.distance);
    for (let i = 1; i < pages.length; i++) distance = i32.select(i32.eq(page, i), pages[i]!.distance, distance);
    const origin = i32.and(this.#eip.get, -PAGE);
    f.set(this.#base, i32.sub(origin, i32.shl(distance, 12)));
    if (pages.length > 1) {
      for (const { distance: d, machine } of pages) {
        const linear = f.let(i32.add(this.#base.get, d << 12));
        const mapped = hostAddress(i32.const(this.#tables.execute), linear);
        f.unlikely(i32.ne(mapped, machine), () => f.return(NEXT.interpret));
      }
    }
    this.#loadRegisters(this.#builder.used);
    if (this.#flags.touched) {
      const { kind, a, r, c } = this.#flagLocals;
      f.set(kind, this.#field("flagsKind"));
      f.set(a, this.#field("flagsOperand"));
      f.set(r, this.#field("flagsResult"));
      f.set(c, this.#field("flagsCarry"));
    }
    f.set(this.#budget, this.#field("budget"));
    if (this.#target.profile) f.set(this.#before, this.#budget.get);
    f.set(this.#plainTest, PLAIN_TEST);
    if (this.#called) f.set(this.#epoch, this.#field("codeEpoch"));
    f.set(this.#next, i32.and(code, CODE_REF.entryMask));
    this.#x87?.state.load(f.let(this.#depthOfEntry()));
    // As if the main entry had been called: returnEntry is zero.
    if (this.#jumps) f.set(this.#returnEip, this.#at(this.#entries[0]!.offset));
  }

  #epilogue(): void {
    const f = this.#f;
    this.#storeRegisters(this.#builder.written);
    this.#x87?.state.store();
    if (this.#flags.touched) {
      const { kind, a, r, c } = this.#flagLocals;
      this.#setField("flagsKind", kind.get);
      this.#setField("flagsOperand", a.get);
      this.#setField("flagsResult", r.get);
      this.#setField("flagsCarry", c.get);
    }
    if (this.#target.profile) {
      const slot = i32.shrU(f.params[0]!.get, CODE_REF.slotShift);
      const executed = f.let(i64.extendU(i32.sub(this.#before.get, this.#budget.get)));
      for (const at of [i32.const(0), f.let(i32.shl(slot, 3))])
        f.store64(at, i64.add(i64.load(at, REGION_INSTRUCTIONS), executed), REGION_INSTRUCTIONS);
    }
    this.#setField("budget", this.#budget.get);
    this.#setField("eip", this.#eip.get);
    f.result(this.#result.get);
  }
}

/** Where a branch to a node goes, and what it must put into `next` first, or -1. */
interface Branch {
  readonly label: Label;
  readonly select: number;
}
