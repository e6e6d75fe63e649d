/**
 * Compiles one region to a WebAssembly function: (code) → what to do next, see NEXT. Registers and flags live in locals
 * from its entries to its exits; loops of the guest are loops of the function; a computed jump whose target lies in the
 * region goes through a dispatcher. The budget is checked wherever a cycle closes, and it is exact.
 */

import { formBits } from "../../isa/decoder.ts";
import { FIELD, type FieldName, GPR } from "../../isa/state.ts";
import { call, constantOf, type I32, i32, i64, type Value } from "../../wasm/expression.ts";
import { FunctionWriter, type Label, type Local } from "../../wasm/function.ts";
import type { FunctionReference } from "../../wasm/module.ts";
import { CODE_REF, NEXT, STATUS } from "../interpreter/record.ts";
import { originOf, regionRecord, VERIFY_EXPORTS } from "../interpreter/regions.ts";
import {
  EXECUTE_TABLE,
  mappingEpoch,
  REGION,
  REGION_RECORD,
  REGIONS,
  SHADOW,
  STATE,
  USER_TABLES,
  WRITE_TABLE,
} from "../memory-map.ts";
import { PLAIN_TEST } from "../shadow.ts";
import { isCalled, offsetOf, type RegionBlock, type RegionInstruction } from "./blocks.ts";
import { FlagState, type KnownFlags, NEED, UNKNOWN_FLAGS } from "./flag-state.ts";
import type { RegionGraph } from "./graph.ts";
import { LAZY_FLAGS } from "./lazy-flags.ts";
import { RegionBuilder } from "./region-builder.ts";
import { popped, pushed, type RegionModule, returnStack } from "./region-module.ts";
import { type Node, type RegionEntry, RegionPlan } from "./region-plan.ts";
import { vectorsNamed } from "./region-scan.ts";
import { VectorLocal } from "./region-vectors.ts";
import type { Item } from "./structure.ts";
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
  /** Address of the word that holds a reference to the compiled code at a machine offset outside, or 0 for none. */
  linkTo(machine: number): number;
  /** Count the instructions executed. */
  readonly profile: boolean;
}

export interface CompiledRegion {
  readonly reference: FunctionReference;
  readonly entries: readonly RegionEntry[];
  /** Bytes of WebAssembly. */
  readonly bytes: number;
}

const REGISTERS = Object.values(GPR);
/** Instructions of a region up to which computed jumps in it keep everything in locals. */
const COMPACT = 400;
/** Packing of the x87's depth at each entry into constants. */
const DEPTH_BITS = 4;
const DEPTHS_A_WORD = 64 / DEPTH_BITS;

/** Position of the count in what a leaving instruction says: bytes from the origin, and instructions not done. */
const WHERE_SHIFT = 8;

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
  readonly #plan: RegionPlan;
  readonly #nodes: readonly Node[];
  readonly #numbers: ReadonlyMap<number, number>;
  /** Machine offsets of places outside that blocks lead to, by offset. */
  readonly #exits: ReadonlyMap<number, number>;
  readonly #entries: readonly RegionEntry[];
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
  /** Reference to the code that is entered: the parameter, or what a computed jump has found in the region itself. */
  readonly #code: Local;
  /** EIP at which an exit goes on. */
  readonly #eip: Local;
  /** Entry that the dispatcher, or a loop with several entries, goes to. */
  readonly #next: Local;
  readonly #result: Local;
  readonly #where: Local;
  readonly #status: Local;
  readonly #epoch: Local;
  /** PLAIN_TEST: a constant that takes six bytes where a local takes two. Engines see through it. */
  readonly #plainTest: Local;
  /** Computed jumps within the region go to its dispatcher with everything in locals. */
  readonly #compact: boolean;
  /** Whether the region calls helpers or arms. */
  #called = false;
  readonly #labels = new Map<number, Branch>();
  #leaveLabel!: Label;
  /** The same from where locals have the x87's state. */
  #x87LeaveLabel!: Label;
  #exitLabel!: Label;
  #lookupLabel!: Label;
  /** Where the dispatcher stands, in a compact region. */
  #againLabel!: Label;
  #outcomeLabel!: Label;
  /** What {@link RegionContext.leave} says about the current instruction. */
  #leaving = 0;
  readonly #tables: { readonly read: number; readonly write: number; readonly execute: number };

  constructor(module: RegionModule, graph: RegionGraph, target: RegionTarget) {
    this.#module = module;
    this.#graph = graph;
    this.#target = target;
    this.#exits = new Map([...graph.exits].map(([machine, offset]) => [offset, machine]));
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
    this.#code = f.params[0]!;
    this.#eip = local();
    this.#next = local();
    this.#result = local();
    this.#where = local();
    this.#status = local();
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
    this.#plan = new RegionPlan(graph, (block) => target.isEntry(block), this.#x87);
    this.#compact = this.#plan.jumps && graph.instructions <= COMPACT && !plan?.resident;
    this.#nodes = this.#plan.nodes;
    this.#numbers = this.#plan.numbers;
    this.#entries = this.#plan.entries;
  }

  compile(): CompiledRegion {
    const f = this.#f;
    // Computed jumps within a large region leave and enter it again, with everything in the state page: so nothing but
    // what a path uses is kept in locals on it.
    if (this.#plan.jumps && !this.#compact) {
      f.loop((again) => {
        this.#body();
        const other = f.let(i32.shrU(i32.xor(this.#result.get, this.#code.get), CODE_REF.slotShift));
        f.set(this.#code, this.#result.get);
        f.brIf(i32.eqz(other), again);
      });
    } else this.#body();
    f.result(this.#result.get);
    this.#module.define(this.#reference, f);
    return { reference: this.#reference, entries: this.#entries, bytes: f.size };
  }

  /** From the entry to where everything stands in the state page and `result` says how to go on. */
  #body(): void {
    const f = this.#f;
    const prologue = f.size;
    f.block((exit) => {
      this.#exitLabel = exit;
      f.block((lookup) => {
        this.#lookupLabel = lookup;
        f.block((leave) => {
          this.#leaveLabel = leave;
          this.#x87LeaveLabel = leave;
          f.block((outcome) => {
            this.#outcomeLabel = outcome;
            if (this.#compact) {
              f.loop((again) => {
                this.#againLabel = again;
                this.#sequence(this.#plan.items);
                f.unreachable();
              });
            } else this.#sequence(this.#plan.items);
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
      if (item.node === this.#plan.dispatcher) this.#dispatch();
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
    let bound = 0;
    const targets = this.#entries.map((entry) => this.#numbers.get(entry.offset)!);
    for (const number of targets) if (!this.#nodes[number]!.checked) bound = Math.max(bound, this.#plan.bound(number));
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
    const { block } = this.#nodes[number]!;
    if (!this.#x87?.leavesApart(block)) {
      this.#f.scope(() => this.#blockBody(number, fallsTo));
      return;
    }
    const outer = this.#x87LeaveLabel;
    this.#f.block((label) => {
      this.#x87LeaveLabel = label;
      this.#f.scope(() => this.#blockBody(number, -1));
    });
    this.#x87LeaveLabel = outer;
    this.#x87.left(block);
    this.#f.br(outer);
  }

  #blockBody(number: number, fallsTo: number): void {
    const f = this.#f;
    const node = this.#nodes[number]!;
    const { block } = node;
    const count = block.instructions.length;
    node.written = true;
    if (node.checked) {
      f.unlikely(i32.ltS(this.#budget.get, this.#plan.bound(number)), () => {
        f.set(this.#eip, this.#at(block.offset));
        f.set(this.#result, NEXT.budget);
        f.br(this.#exitLabel);
      });
    }
    f.set(this.#budget, i32.sub(this.#budget.get, count));
    this.#flags.begin(this.#arrivingFlags(node));
    this.#builder.beginBlock(block.instructions);
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
    this.#x87?.endBlock();
    for (const next of successors) this.#nodes[next]!.known = this.#flags.known();
    if (block.returnTo !== undefined) this.#pushReturn(block.returnTo);
    switch (terminator.kind) {
      case "branch":
        this.#branchEnd(terminator.taken, terminator.next, condition!, fallsTo);
        return;
      case "goto":
        this.#goto(terminator.target, fallsTo);
        return;
      case "return":
        if (ending?.kind !== "indirect") throw new RangeError("a return without a target");
        f.set(this.#eip, ending.eip);
        f.brIf(i32.ne(this.#eip.get, this.#at(offsetOf(terminator.to))), this.#lookupLabel, true);
        this.#goto(terminator.to, fallsTo);
        return;
      case "indirect":
        if (ending?.kind !== "indirect") throw new RangeError("an indirect jump without a target");
        this.#indirect(ending.eip, block.instructions.at(-1)!.form!.row.mnemonic === "RET");
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
  #goto(id: number, fallsTo: number): void {
    const number = this.#numbers.get(id);
    if (number !== undefined) {
      const { block } = this.#nodes[number]!;
      if (this.#x87?.fits(block) === false) this.#x87.rebase(block);
      if (number !== fallsTo) this.#branch(number);
      return;
    }
    const offset = offsetOf(id);
    this.#f.set(this.#eip, this.#at(offset));
    const link = this.#linkTo(offset);
    if (link === 0) {
      this.#f.br(this.#lookupLabel);
      return;
    }
    this.#f.set(this.#result, i32.load(link));
    this.#f.br(this.#exitLabel);
  }

  /** Address of the word that refers to the code at `offset`, outside of the region; 0 if there is none. */
  #linkTo(offset: number): number {
    const machine = this.#exits.get(offset);
    return machine === undefined ? 0 : this.#target.linkTo(machine);
  }

  /** Go to a computed target, if its code is known. */
  #indirect(eip: Value, returns: boolean): void {
    const f = this.#f;
    f.set(this.#eip, eip);
    if (!returns) {
      if (this.#compact) {
        f.set(this.#result, call(this.#lookup(), this.#eip.get));
        this.#again();
      } else f.br(this.#lookupLabel);
      return;
    }
    const { mode } = this.#target;
    const { ring, top } = returnStack(mode);
    const latest = f.let(i32.load(top));
    f.if(
      i32.eq(i32.load(latest, ring), this.#eip.get),
      () => {
        f.set(this.#result, i32.load(latest, ring + 4));
        f.store32(top, popped(latest));
      },
      () => f.set(this.#result, call(this.#module.lookupReturn(mode, this.#tables.execute), this.#eip.get)),
    );
    if (this.#compact) this.#again();
    else f.br(this.#exitLabel);
  }

  /** Go to the code that `result` says: by the dispatcher if it is the region's, at the same linear addresses. */
  #again(): void {
    const f = this.#f;
    const [result, code] = [this.#result.get, this.#code.get];
    const other = i32.shrU(i32.xor(result, code), CODE_REF.slotShift);
    f.brIf(other, this.#exitLabel);
    const origin = originOf(f.let(regionRecord(code)), result, this.#eip.get);
    f.brIf(i32.ne(origin, this.#base.get), this.#exitLabel, true);
    f.set(this.#next, i32.and(result, CODE_REF.entryMask));
    f.br(this.#againLabel);
  }

  /** Note where the call that ends the block returns to. */
  #pushReturn(offset: number): void {
    const f = this.#f;
    const { ring, top } = returnStack(this.#target.mode);
    const record = f.let(pushed(i32.load(top)));
    f.store32(top, record);
    f.store32(record, this.#at(offset), ring);
    f.store32(record, this.#returnCode(offset), ring + 4);
  }

  /** Reference to the code at `offset`, as a word that may be 0. */
  #returnCode(offset: number): Value {
    const back = this.#numbers.get(offset);
    if (back === undefined) {
      const link = this.#linkTo(offset);
      return link === 0 ? i32.const(0) : i32.load(link);
    }
    const { entry } = this.#nodes[back]!;
    if (entry < 0) return i32.const(0);
    const place = (this.#entries[entry]!.page << CODE_REF.pageShift) | entry;
    return i32.or(i32.and(this.#code.get, -1 << CODE_REF.slotShift), place);
  }

  // ---- leaving --------------------------------------------------------------------------------------------------

  /** Say where the current instruction stands. */
  #note(): void {
    this.#f.set(this.#where, this.#leaving);
  }

  #leave(): void {
    this.#x87?.flush();
    this.#note();
    this.#f.br(this.#leaveHere);
  }

  #leaveIf(condition: I32): void {
    this.#note();
    this.#leaveNotedIf(condition);
  }

  #leaveNotedIf(condition: I32): void {
    if (this.#x87?.pending) {
      this.#f.unlikely(condition, () => {
        this.#x87?.flush();
        this.#f.br(this.#leaveHere);
      });
    } else this.#f.brIf(condition, this.#leaveHere, true);
  }

  /** Where an instruction at this point leaves to. */
  get #leaveHere(): Label {
    return this.#x87?.loaded ? this.#x87LeaveLabel : this.#leaveLabel;
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
    this.#x87?.beforeCall();
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
    const code = this.#code.get;
    f.set(this.#eip, this.#field("eip"));
    const record = f.let(regionRecord(code));
    const origin = originOf(record, code, this.#eip.get);
    const moved = i32.xor(origin, i32.load(record, REGIONS + REGION.origin));
    const remapped = i32.xor(i32.load(record, REGIONS + REGION.epoch), i32.load(mappingEpoch(this.#tables.execute)));
    f.unlikely(i32.or(moved, remapped), () => {
      const verify = VERIFY_EXPORTS[this.#target.user ? "user" : "supervisor"];
      const verified = call(this.#module.importI32(verify, 2), code, this.#eip.get);
      f.if(i32.eqz(verified), () => f.return(NEXT.interpret));
    });
    f.set(this.#base, i32.load(record, REGIONS + REGION.origin));
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
    this.#x87?.enterRegion(() => this.#depthOfEntry());
  }

  #epilogue(): void {
    const f = this.#f;
    this.#storeRegisters(this.#builder.written);
    this.#x87?.exitRegion();
    if (this.#flags.touched) {
      const { kind, a, r, c } = this.#flagLocals;
      this.#setField("flagsKind", kind.get);
      this.#setField("flagsOperand", a.get);
      this.#setField("flagsResult", r.get);
      this.#setField("flagsCarry", c.get);
    }
    if (this.#target.profile) {
      const executed = f.let(i64.extendU(i32.sub(this.#before.get, this.#budget.get)));
      const counter = REGIONS + REGION.instructions;
      for (const at of [i32.const(0), f.let(regionRecord(this.#code.get))])
        f.store64(at, i64.add(i64.load(at, counter), executed), counter);
    }
    this.#setField("budget", this.#budget.get);
    this.#setField("eip", this.#eip.get);
  }
}

/** Where a branch to a node goes, and what it must put into `next` first, or -1. */
interface Branch {
  readonly label: Label;
  readonly select: number;
}
