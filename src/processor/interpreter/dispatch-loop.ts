/**
 * The interpreter's dispatch loop: find a block, run its operations, follow links. Three nested loops: `dispatch` looks
 * the code at EIP up, `enter` begins a known block, `next` runs one operation after the other. Few values are kept in
 * locals, since each one that changes must be carried round the loop by every arm.
 */
import { FIELD, SEG, segmentField } from "../../isa/state.ts";
import type { Runtime } from "../../isa/vector/runtime.ts";
import { call, callIndirect, type I32, i32, type Value } from "../../wasm/expression.ts";
import { FunctionWriter, type Label } from "../../wasm/function.ts";
import type { FunctionReference, ModuleWriter } from "../../wasm/module.ts";
import { BLOCK_HASH, EXECUTE_TABLE, STATE } from "../memory-map.ts";
import { hostAddress } from "../shadow.ts";
import type { ArmContext } from "./arm.ts";
import { findBlock } from "./block-hash.ts";
import { BLOCK, BLOCK_BYTES, BLOCK_FLAG, NEXT, RECORD, RECORD_BYTES, RUN, SKIP, STATUS } from "./record.ts";
import type { SharedFunctions } from "./shared.ts";

/** Writes the operation at `context.pc`; falls through to the next operation. `advance` moves on within a fused pair. */
export type ArmWriter = (context: ArmContext, advance: () => void) => void;

const PAGE = 4096;

export class DispatchLoop {
  readonly #module: ModuleWriter;
  readonly #shared: SharedFunctions;
  readonly #deliverFault: FunctionReference;
  readonly #runtime: Runtime;
  readonly #f: FunctionWriter;
  readonly #pc;
  readonly #start;
  readonly #result;
  readonly #carry;
  readonly #readTable;
  readonly #writeTable;
  readonly #block;
  readonly #regions: FunctionReference;
  readonly #status;
  /** The state page: a constant, so that every field is one access with a fixed offset. */
  readonly #s = i32.const(STATE);

  /** `regions`: (code) → NEXT, see `regions.ts`. */
  constructor(
    module: ModuleWriter,
    shared: SharedFunctions,
    runtime: Runtime,
    run: FunctionReference,
    regions: FunctionReference,
    deliverFault: FunctionReference,
  ) {
    this.#regions = regions;
    this.#deliverFault = deliverFault;
    this.#module = module;
    this.#shared = shared;
    this.#runtime = runtime;
    const f = new FunctionWriter(run.type);
    this.#f = f;
    this.#pc = f.local("i32");
    this.#start = f.local("i32");
    this.#result = f.local("i32");
    this.#carry = f.local("i32");
    this.#readTable = f.local("i32");
    this.#writeTable = f.local("i32");
    this.#block = f.local("i32");
    this.#status = f.local("i32");
  }

  #load(name: keyof typeof FIELD): Value {
    return i32.load(this.#s, FIELD[name].offset);
  }

  #store(name: keyof typeof FIELD, value: I32): void {
    this.#f.store32(this.#s, value, FIELD[name].offset);
  }

  /** Put what locals hold back into the state page, for TypeScript and for arms outside the loop. */
  #sync(): void {
    this.#store("flagsResult", this.#result.get);
    this.#store("flagsCarry", this.#carry.get);
    this.#store("startEip", this.#start.get);
  }

  #leave(reason: number): void {
    this.#store("flagsResult", this.#result.get);
    this.#store("flagsCarry", this.#carry.get);
    this.#store("eip", this.#start.get);
    this.#f.return(reason);
  }

  /** Count the operations from the block's first to the current one as done (all but it if `short` is 1). */
  #retire(short = 0): void {
    this.#store("budget", i32.sub(i32.add(this.#load("budget"), short), i32.load8u(this.#pc.get, RECORD.count)));
  }

  #linear(eip: Value): Value {
    return i32.add(eip, i32.load(this.#s, segmentField(SEG.CS, "base")));
  }

  /**
   * Write the function. `arms` are numbered from 2 (0 is the helper call, 1 the end of a block); higher handler numbers
   * are slots of table 0 from `arms.length + 2` on.
   */
  write(run: FunctionReference, arms: readonly ArmWriter[]): number {
    const f = this.#f;
    f.set(this.#start, this.#load("eip"));
    f.set(this.#result, this.#load("flagsResult"));
    f.set(this.#carry, this.#load("flagsCarry"));
    f.loop((dispatch) => {
      f.set(this.#readTable, this.#load("readTable"));
      f.set(this.#writeTable, this.#load("writeTable"));
      // Before anything of the next instruction, its fetch included.
      f.if(i32.eqz(this.#load("budget")), () => this.#leave(RUN.budget));
      this.#find();
      f.loop((enter) => {
        f.if(i32.ltU(this.#load("budget"), i32.load(this.#block.get, BLOCK.count)), () => this.#leave(RUN.budget));
        this.#enterCompiled(dispatch);
        f.set(this.#pc, i32.add(this.#block.get, BLOCK_BYTES));
        f.block((fault) => {
          f.loop((next) => this.#operations(arms, { dispatch, enter, fault, next }));
        });
        // Nothing of the current instruction has happened; EIP points to it.
        f.set(this.#start, i32.add(this.#start.get, i32.load8u(this.#pc.get, RECORD.offset)));
        this.#sync();
        f.if(call(this.#deliverFault, this.#start.get), () => {
          // A fault takes one tick of the timer, or a guest that can only fault would never leave.
          this.#retire();
          f.set(this.#start, this.#load("eip"));
          f.br(dispatch);
        });
        this.#retire(1);
        this.#leave(RUN.fault);
      });
    });
    f.unreachable();
    this.#module.define(run, f.finish());
    return f.size;
  }

  /** Run the compiled code of the block about to be entered, if there is some; else count, and say when it is hot. */
  #enterCompiled(dispatch: Label): void {
    const f = this.#f;
    const code = f.let(i32.load(this.#block.get, BLOCK.code));
    f.if(
      i32.gtS(code, 0),
      () => {
        const skip = f.let(this.#load("skipRegions"));
        f.if(
          skip,
          () => f.if(i32.eq(skip, SKIP.block), () => this.#store("skipRegions", SKIP.none)),
          () => {
            this.#sync();
            this.#store("eip", this.#start.get);
            this.#store("linkSlot", 0);
            f.set(this.#status, call(this.#regions, code));
            f.set(this.#result, this.#load("flagsResult"));
            f.set(this.#carry, this.#load("flagsCarry"));
            f.set(this.#start, this.#load("eip"));
            f.brIf(i32.eqz(this.#status.get), dispatch);
            f.if(i32.eq(this.#status.get, NEXT.fault), () => {
              f.if(i32.eqz(call(this.#deliverFault, this.#start.get)), () => f.return(RUN.fault));
              this.#store("budget", i32.sub(this.#load("budget"), 1));
              f.set(this.#start, this.#load("eip"));
              f.br(dispatch);
            });
            f.if(i32.eq(this.#status.get, NEXT.exit), () => f.return(RUN.exit));
            const skipped = i32.select(i32.eq(this.#status.get, NEXT.budget), SKIP.stay, SKIP.block);
            this.#store("skipRegions", skipped);
            f.br(dispatch);
          },
        );
      },
      () => {
        f.if(i32.eq(code, -1), () => {
          this.#store("hotBlock", this.#block.get);
          this.#leave(RUN.hot);
        });
        f.store32(this.#block.get, i32.add(code, 1), BLOCK.code);
      },
    );
  }

  /** Find the block at `start`, or leave. */
  #find(): void {
    const f = this.#f;
    f.block((found) => {
      const cut = f.let(this.#load("cutBlock"));
      f.if(cut, () => {
        this.#store("cutBlock", 0);
        this.#store("linkSlot", 0);
        f.set(this.#block, cut);
        f.br(found);
      });
      const linear = f.let(this.#linear(this.#start.get));
      // The execute table lies at a fixed distance from the read table of the same privilege.
      const host = f.temporary("i32");
      const machine = host.get;
      f.set(host, hostAddress(this.#readTable.get, linear, EXECUTE_TABLE));
      f.if(i32.ltS(machine, 0), () => {
        f.set(host, call(this.#shared.fetchFill, linear));
        f.if(i32.ltS(machine, 0), () => this.#leave(RUN.miss));
      });
      const slot = findBlock(f, machine, f.let(this.#load("modeKey")), () => this.#leave(RUN.miss));
      f.set(this.#block, i32.load(slot, BLOCK_HASH + 8));
      const flags = f.let(i32.load(this.#block.get, BLOCK.flags));
      const linkSlot = f.let(this.#load("linkSlot"));
      f.if(linkSlot, () => {
        // Only within a page, where both ends share one mapping, and only to blocks that need no check at entry.
        const elsewhere = i32.shrU(i32.xor(linear, this.#load("linkLinear")), 12);
        f.if(i32.eqz(i32.or(elsewhere, flags)), () => f.store32(linkSlot, this.#block.get));
        this.#store("linkSlot", 0);
      });
      f.brIf(i32.eqz(flags), found);
      f.if(i32.and(flags, BLOCK_FLAG.checkLimit), () => {
        const last = i32.add(this.#start.get, i32.sub(i32.load(this.#block.get, BLOCK.bytes), 1));
        f.if(i32.gtU(last, i32.load(this.#s, segmentField(SEG.CS, "limit"))), () => this.#leave(RUN.verify));
      });
      f.if(i32.and(flags, BLOCK_FLAG.crosses), () => {
        const behind = f.let(i32.and(i32.add(linear, PAGE), -PAGE));
        const mapped = hostAddress(this.#readTable.get, behind, EXECUTE_TABLE);
        f.if(i32.ne(mapped, i32.load(this.#block.get, BLOCK.crossing)), () => this.#leave(RUN.verify));
      });
    });
  }

  #operations(arms: readonly ArmWriter[], labels: { dispatch: Label; enter: Label; fault: Label; next: Label }): void {
    const f = this.#f;
    const writers: (() => void)[] = [
      () => {
        this.#helper(labels);
      },
      () => this.#end(labels),
      ...arms.map((arm) => () => {
        const context = this.#context(labels);
        arm(context, () => this.#advance());
        this.#advance();
        f.br(labels.next);
      }),
    ];
    f.block((outside) => {
      const targets: Label[] = [];
      const open = (index: number): void => {
        if (index < 0) {
          f.brTable(i32.load16u(this.#pc.get, RECORD.handler), targets, outside);
          return;
        }
        f.block((label) => {
          targets[index] = label;
          open(index - 1);
        });
        writers[index]!();
      };
      open(writers.length - 1);
      f.unreachable();
    });
    this.#sync();
    const type = this.#module.type({ params: ["i32"], results: ["i32"] });
    const slot = i32.sub(i32.load16u(this.#pc.get, RECORD.handler), writers.length);
    f.set(this.#status, callIndirect(type, "i32", slot, this.#pc.get));
    this.#settle(labels);
  }

  /** Let the TypeScript helper of the current operation carry it out. */
  #helper(labels: { dispatch: Label; fault: Label; next: Label }): void {
    this.#sync();
    this.#f.set(this.#status, call(this.#shared.helper, i32.load(this.#pc.get, RECORD.link), this.#pc.get));
    this.#settle(labels);
  }

  #advance(): void {
    this.#f.set(this.#pc, i32.add(this.#pc.get, RECORD_BYTES));
  }

  /** After a call: go on, fault, leave the block, or leave the loop. */
  #settle(labels: { dispatch: Label; fault: Label; next: Label }): void {
    const f = this.#f;
    f.set(this.#result, this.#load("flagsResult"));
    f.set(this.#carry, this.#load("flagsCarry"));
    f.if(i32.eqz(this.#status.get), () => {
      this.#advance();
      f.br(labels.next);
    });
    f.brIf(i32.eq(this.#status.get, STATUS.fault), labels.fault);
    f.set(this.#start, this.#load("startEip"));
    this.#retire();
    f.brIf(i32.eq(this.#status.get, STATUS.jump), labels.dispatch);
    this.#leave(RUN.exit);
  }

  /** Not an instruction: it stands after a block's last one, and goes on with the block behind. */
  #end(labels: { dispatch: Label; enter: Label }): void {
    const here = this.#f.let(i32.add(this.#start.get, i32.load8u(this.#pc.get, RECORD.offset)));
    this.#retire();
    this.#follow(labels, here, 0, i32.sub(here, 1));
  }

  /** Continue at `eip` by the record's link if it is known, else by way of `dispatch`, which may fill it in. */
  #follow(labels: { dispatch: Label; enter: Label }, eip: Value, wrapped: I32, from: Value): void {
    const f = this.#f;
    const link = f.let(i32.load(this.#pc.get, RECORD.link));
    f.if(
      wrapped === 0 ? link : i32.select(wrapped, 0, link),
      () => {
        f.set(this.#start, eip);
        f.set(this.#block, link);
        f.br(labels.enter);
      },
      () => {
        this.#store("linkLinear", this.#linear(from));
        this.#store("linkSlot", i32.add(this.#pc.get, RECORD.link));
        f.set(this.#start, eip);
        f.br(labels.dispatch);
      },
    );
  }

  #context(labels: { dispatch: Label; enter: Label; fault: Label; next: Label }): ArmContext {
    const f = this.#f;
    return {
      f,
      s: this.#s,
      pc: this.#pc.get,
      shared: this.#shared,
      runtime: this.#runtime,
      inline: true,
      start: this.#start.get,
      readTable: this.#readTable.get,
      writeTable: this.#writeTable.get,
      flagsResult: () => this.#result.get,
      flagsCarry: () => this.#carry.get,
      setFlags: (result, carry) => {
        // The carry may be computed from the old result, never the other way round.
        if (carry !== undefined) f.set(this.#carry, carry);
        if (result !== undefined) f.set(this.#result, result);
      },
      fault: () => f.br(labels.fault),
      faultIf: (condition) => f.brIf(condition, labels.fault),
      helper: () => this.#helper(labels),
      jump: (eip) => {
        f.set(this.#start, eip);
        this.#retire();
        f.br(labels.dispatch);
      },
      jumpLinked: (eip, wrapped) => {
        this.#retire();
        const from = i32.add(this.#start.get, i32.load8u(this.#pc.get, RECORD.offset));
        this.#follow(labels, eip, wrapped, from);
      },
      leaveTo: (helper) => {
        this.#sync();
        f.set(this.#status, call(this.#shared.helper, helper, this.#pc.get));
        this.#settle(labels);
      },
    };
  }
}
