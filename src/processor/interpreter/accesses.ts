/**
 * Memory accesses through the shadow tables as WebAssembly functions: the fast probes, and behind them the slow paths,
 * which fill tables, split accesses at page ends and leave to TypeScript what is not RAM. Those that can fault leave the
 * vector in the state page (faultVector ≥ 0). Compiled regions import the exported ones.
 */
import { FIELD, type FieldName } from "../../isa/state.ts";
import { call, type I32, i32, i64, type Value } from "../../wasm/expression.ts";
import { FunctionWriter } from "../../wasm/function.ts";
import type { FunctionReference, ModuleWriter, ValueType } from "../../wasm/module.ts";
import { defineFillLog } from "../fill-log.ts";
import { READ_SLOT, STATE, WRITE_SLOT } from "../memory-map.ts";
import { defineFill, FILL, PAGE_ACCESS } from "../paging.ts";
import {
  CODE_MARK,
  codeBitsOf,
  entryAddress,
  granulesOf,
  hostAddress,
  isCode,
  leavesPage,
  notPlain,
} from "../shadow.ts";

/** What the slow paths need of others. */
export interface AccessImports {
  /** JavaScript: (machine, bytes): accessed and dirty bits were set in a page with decoded code. */
  readonly codeWrite: FunctionReference;
  /** JavaScript: (linear, bytes, write) → READ_SLOT with the value in it, or negative on a fault. */
  readonly readElsewhere: FunctionReference;
  /** JavaScript: (linear, bytes) → WRITE_STATUS; the value is in WRITE_SLOT. Decoded code that it hits is dropped. */
  readonly writeElsewhere: FunctionReference;
  /** JavaScript: (machine, bytes) → non-zero when a byte of it is decoded code. */
  readonly coversCode: FunctionReference;
}

/** What the exported stores return; `code`: nothing is written, the store would hit decoded code. */
export const WRITE_STATUS = { done: 0, fault: 1, code: 2 } as const;

export interface AccessFunctions extends AccessImports {
  /** (linear, PAGE_ACCESS) → machine offset, or FILL: walk the guest's tables and enter what they say. */
  readonly fill: FunctionReference;
  /** (linear) → machine offset of code, or negative: TypeScript then finds out why, and raises it. */
  readonly fetchFill: FunctionReference;
  /** (s, linear) → value. */
  readonly read8: FunctionReference;
  readonly read16: FunctionReference;
  readonly read32: FunctionReference;
  /** (s, linear) → value: the read half of a read-modify-write; write permission is needed. */
  readonly modify8: FunctionReference;
  readonly modify16: FunctionReference;
  readonly modify32: FunctionReference;
  /** (s, linear, value). */
  readonly write8: FunctionReference;
  readonly write16: FunctionReference;
  readonly write32: FunctionReference;
  /** (linear, bytes) → value of 1, 2 or 4 bytes, when the probe has failed. */
  readonly slowRead: FunctionReference;
  readonly slowModify: FunctionReference;
  /** (linear, value, bytes), when the probe has failed; decoded code that the store hits is dropped. */
  readonly slowWrite: FunctionReference;
  /** (linear, i64 value) and (linear, i64 low, i64 high): as slowWrite, for 8 and 16 bytes. */
  readonly slowWrite64: FunctionReference;
  readonly slowWrite128: FunctionReference;
  /**
   * Exported: (linear, bytes) → host address at which 1 to 16 bytes can be loaded at once: of RAM, or of a slot that
   * holds the value; negative on a fault.
   */
  readonly readAddress: FunctionReference;
  /**
   * Exported: (linear, bytes) → host address of RAM without code that may be read and written; or FILL.fault, or
   * FILL.elsewhere: nothing happened, the interpreter must do it.
   */
  readonly modifyAddress: FunctionReference;
  /** Exported: (linear, value, bytes) → WRITE_STATUS, for 1, 2 and 4 bytes. */
  readonly writeSlow: FunctionReference;
  /** Exported: (linear, i64 value) → WRITE_STATUS. */
  readonly writeSlow64: FunctionReference;
  /** Exported: (linear, i64 low, i64 high) → WRITE_STATUS. */
  readonly writeSlow128: FunctionReference;
}

const PAGE = 4096;

function load(address: Value, bytes: number): Value {
  return bytes === 1 ? i32.load8u(address) : bytes === 2 ? i32.load16u(address) : i32.load(address);
}

function store(f: FunctionWriter, address: Value, bytes: number, value: Value): void {
  if (bytes === 1) f.store8(address, value);
  else if (bytes === 2) f.store16(address, value);
  else f.store32(address, value);
}

const field = (name: FieldName): Value => i32.load(STATE, FIELD[name].offset);
/** PAGE_ACCESS of the current privilege. */
const privilege = (): Value => i32.select(i32.eq(field("cpl"), 3), PAGE_ACCESS.user, 0);
/** PAGE_ACCESS of a store. */
const writing = (): Value => i32.or(privilege(), PAGE_ACCESS.write);

/** Declare and write the functions; bodies are complete on return. */
export function defineAccesses(module: ModuleWriter, imports: AccessImports): AccessFunctions {
  const declare = (params: readonly ValueType[], results: number, exported?: string): FunctionReference =>
    module.declare({ params, results: new Array<ValueType>(results).fill("i32") }, exported);
  const words = (count: number): ValueType[] => new Array<ValueType>(count).fill("i32");
  const functions: AccessFunctions = {
    ...imports,
    fill: defineFill(module, imports.codeWrite, defineFillLog(module)),
    fetchFill: declare(words(1), 1),
    read8: declare(words(2), 1),
    read16: declare(words(2), 1),
    read32: declare(words(2), 1),
    modify8: declare(words(2), 1),
    modify16: declare(words(2), 1),
    modify32: declare(words(2), 1),
    write8: declare(words(3), 0),
    write16: declare(words(3), 0),
    write32: declare(words(3), 0),
    slowRead: declare(words(2), 1),
    slowModify: declare(words(2), 1),
    slowWrite: declare(words(3), 0),
    slowWrite64: declare(["i32", "i64"], 0),
    slowWrite128: declare(["i32", "i64", "i64"], 0),
    readAddress: declare(words(2), 1, "readAddress"),
    modifyAddress: declare(words(2), 1, "modifyAddress"),
    writeSlow: declare(words(3), 1, "writeSlow"),
    writeSlow64: declare(["i32", "i64"], 1, "writeSlow64"),
    writeSlow128: declare(["i32", "i64", "i64"], 1, "writeSlow128"),
  };
  const write = (reference: FunctionReference, body: (f: FunctionWriter, ...params: Value[]) => void): void => {
    const f = new FunctionWriter(reference.type);
    body(f, ...f.params.map((p) => p.get));
    module.define(reference, f.finish());
  };

  for (const [bytes, read, modify, store_] of [
    [1, functions.read8, functions.modify8, functions.write8],
    [2, functions.read16, functions.modify16, functions.write16],
    [4, functions.read32, functions.modify32, functions.write32],
  ] as const) {
    for (const [reference, table, slow] of [
      [read, "readTable", functions.slowRead],
      [modify, "writeTable", functions.slowModify],
    ] as const) {
      write(reference, (f, s, linear) => {
        const host = f.let(hostAddress(i32.load(s!, FIELD[table].offset), linear!));
        f.if(notPlain(host, bytes), () => f.return(call(slow, linear!, bytes)));
        f.result(load(host, bytes));
      });
    }
    write(store_, (f, s, linear, value) => {
      const host = f.let(hostAddress(i32.load(s!, FIELD.writeTable.offset), linear!));
      f.if(notPlain(host, bytes), () => {
        f.do(call(functions.slowWrite, linear!, value!, bytes));
        f.return();
      });
      store(f, host, bytes, value!);
    });
  }
  const inner: InnerFunctions = {
    reachRead: declare(words(2), 1),
    reachWrite: declare(words(2), 1),
    hitsCode: declare(words(2), 1),
    writeFromSlot: declare(words(2), 1),
  };
  writeReach(functions, inner, write);
  writeReads(functions, inner, write);
  writeStores(functions, inner, write);
  return functions;
}

/** Functions that only the others here call. */
interface InnerFunctions {
  /** (linear, PAGE_ACCESS) → machine offset, or FILL. */
  readonly reachRead: FunctionReference;
  /** (linear, PAGE_ACCESS) → machine offset of RAM, which may hold code, or FILL. */
  readonly reachWrite: FunctionReference;
  /** (machine, bytes) → non-zero when that hits decoded code; within one page. */
  readonly hitsCode: FunctionReference;
  /** (linear, bytes) → WRITE_STATUS; the value is in WRITE_SLOT. */
  readonly writeFromSlot: FunctionReference;
}

type Write = (reference: FunctionReference, body: (f: FunctionWriter, ...params: Value[]) => void) => void;

/** From linear addresses to memory, by the tables if they know, and whether code is there. */
function writeReach({ fill, fetchFill, coversCode }: AccessFunctions, inner: InnerFunctions, write: Write): void {
  write(fetchFill, (f, linear) => {
    const cr2 = f.let(field("cr2"));
    const machine = f.let(call(fill, linear!, i32.or(privilege(), PAGE_ACCESS.fetch)));
    f.if(i32.eq(machine, FILL.fault), () => {
      // Other reasons not to execute this instruction come first.
      f.store32(STATE, cr2, FIELD.cr2.offset);
      f.store32(STATE, -1, FIELD.faultVector.offset);
    });
    f.result(machine);
  });

  write(inner.reachRead, (f, linear, access) => {
    const host = f.let(hostAddress(field("readTable"), linear!));
    f.if(i32.geS(host, 0), () => f.return(host));
    f.result(call(fill, linear!, access!));
  });

  write(inner.reachWrite, (f, linear, access) => {
    const stored = f.let(i32.load(entryAddress(field("writeTable"), linear!)));
    const host = f.temporary("i32");
    f.set(host, i32.xor(stored, linear!));
    f.if(i32.geS(host.get, 0), () => f.return(host.get));
    f.if(isCode(stored), () => {
      f.set(host, i32.xor(host.get, CODE_MARK));
      // Else nothing decoded is left in the page: the fill makes it fast again.
      f.if(codeBitsOf(host.get), () => f.return(host.get));
    });
    f.result(call(fill, linear!, access!));
  });

  write(inner.hitsCode, (f, machine, bytes) => {
    f.if(i32.eqz(i32.and(codeBitsOf(machine!), granulesOf(machine!, bytes!))), () => f.return(0));
    f.result(call(coversCode, machine!, bytes!));
  });
}

/** Reads, and the read halves of read-modify-writes. */
function writeReads(functions: AccessFunctions, inner: InnerFunctions, write: Write): void {
  write(functions.readAddress, (f, linear, bytes) => {
    f.block((elsewhere) => {
      f.brIf(field("watching"), elsewhere);
      const access = f.let(privilege());
      const host = f.let(call(inner.reachRead, linear!, access));
      f.brIf(i32.eq(host, FILL.elsewhere), elsewhere);
      f.if(i32.or(i32.ltS(host, 0), i32.eqz(leavesPage(linear!, bytes!))), () => f.return(host));
      const next = f.let(pageBehind(linear!));
      const second = f.let(call(inner.reachRead, next, access));
      f.brIf(i32.eq(second, FILL.elsewhere), elsewhere);
      f.if(i32.ltS(second, 0), () => f.return(second));
      const here = f.let(i32.sub(next, linear!));
      forEachByte(f, bytes!, here, host, second, (i, at) => f.store8(i, i32.load8u(at), READ_SLOT));
      f.return(READ_SLOT);
    });
    f.result(call(functions.readElsewhere, linear!, bytes!, 0));
  });

  const loaded = (f: FunctionWriter, host: Value, bytes: Value): void => {
    f.if(i32.ltS(host, 0), () => f.return(0));
    f.if(i32.eq(bytes, 4), () => f.return(i32.load(host)));
    f.if(i32.eq(bytes, 2), () => f.return(i32.load16u(host)));
    f.result(i32.load8u(host));
  };
  write(functions.slowRead, (f, linear, bytes) => {
    loaded(f, f.let(call(functions.readAddress, linear!, bytes!)), bytes!);
  });
  write(functions.slowModify, (f, linear, bytes) => {
    const host = f.temporary("i32");
    f.set(host, FILL.elsewhere);
    f.if(i32.eqz(i32.or(field("watching"), leavesPage(linear!, bytes!))), () => {
      f.set(host, call(inner.reachWrite, linear!, writing()));
    });
    f.if(i32.eq(host.get, FILL.elsewhere), () => {
      f.set(host, call(functions.readElsewhere, linear!, bytes!, 1));
    });
    loaded(f, host.get, bytes!);
  });
}

/** First byte of the page behind the one of `linear`, which is not its page's first byte. */
function pageBehind(linear: Value): Value {
  return i32.and(i32.add(linear, PAGE - 1), -PAGE);
}

/** For each of `bytes`, of which the first `here` lie at `first` and the others at `second`: its number and address. */
function forEachByte(
  f: FunctionWriter,
  bytes: I32,
  here: Value,
  first: Value,
  second: Value,
  body: (i: Value, at: Value) => void,
): void {
  const i = f.temporary("i32");
  f.set(i, 0);
  f.loop((again) => {
    const behind = i32.add(i32.sub(second, here), i.get);
    body(i.get, f.let(i32.select(i32.ltU(i.get, here), i32.add(first, i.get), behind)));
    f.set(i, i32.add(i.get, 1));
    f.brIf(i32.ltU(i.get, bytes), again);
  });
}

/** Stores, and the address of read-modify-writes. */
function writeStores(functions: AccessFunctions, inner: InnerFunctions, write: Write): void {
  const { reachWrite, hitsCode, writeFromSlot } = inner;
  const returnIfCode = (f: FunctionWriter, machine: Value, bytes: Value, result: number): void => {
    f.if(i32.geS(machine, 0), () => f.if(call(hitsCode, machine, bytes), () => f.return(result)));
  };

  write(functions.modifyAddress, (f, linear, bytes) => {
    f.if(i32.or(field("watching"), leavesPage(linear!, bytes!)), () => f.return(FILL.elsewhere));
    const host = f.let(call(reachWrite, linear!, writing()));
    returnIfCode(f, host, bytes!, FILL.elsewhere);
    f.result(host);
  });

  write(writeFromSlot, (f, linear, bytes) => {
    f.if(field("watching"), () => f.return(WRITE_STATUS.code));
    const host = f.let(call(reachWrite, linear!, writing()));
    f.if(i32.eq(host, FILL.fault), () => f.return(WRITE_STATUS.fault));
    f.if(i32.eqz(leavesPage(linear!, bytes!)), () => {
      returnIfCode(f, host, bytes!, WRITE_STATUS.code);
      f.if(i32.ltS(host, 0), () => f.return(call(functions.writeElsewhere, linear!, bytes!)));
      for (const width of [4, 1, 2] as const) {
        f.if(i32.eq(bytes!, width), () => {
          store(f, host, width, i32.load(WRITE_SLOT));
          f.return(WRITE_STATUS.done);
        });
      }
      f.store64(host, i64.load(WRITE_SLOT));
      f.if(i32.eq(bytes!, 16), () => f.store64(host, i64.load(WRITE_SLOT, 8), 8));
      f.return(WRITE_STATUS.done);
    });
    const next = f.let(pageBehind(linear!));
    const here = f.let(i32.sub(next, linear!));
    const second = f.let(call(reachWrite, next, writing()));
    f.if(i32.eq(second, FILL.fault), () => f.return(WRITE_STATUS.fault));
    returnIfCode(f, host, here, WRITE_STATUS.code);
    returnIfCode(f, second, i32.sub(bytes!, here), WRITE_STATUS.code);
    f.if(i32.ltS(i32.or(host, second), 0), () => f.return(call(functions.writeElsewhere, linear!, bytes!)));
    forEachByte(f, bytes!, here, host, second, (i, at) => f.store8(at, i32.load8u(i, WRITE_SLOT)));
    f.result(WRITE_STATUS.done);
  });

  write(functions.writeSlow, (f, linear, value, bytes) => {
    f.store32(WRITE_SLOT, value!);
    f.result(call(writeFromSlot, linear!, bytes!));
  });
  write(functions.writeSlow64, (f, linear, value) => {
    f.store64(WRITE_SLOT, value!);
    f.result(call(writeFromSlot, linear!, 8));
  });
  write(functions.writeSlow128, (f, linear, low, high) => {
    f.store64(WRITE_SLOT, low!);
    f.store64(WRITE_SLOT + 8, high!);
    f.result(call(writeFromSlot, linear!, 16));
  });

  for (const [reference, status, bytes] of [
    [functions.slowWrite, functions.writeSlow, undefined],
    [functions.slowWrite64, functions.writeSlow64, 8],
    [functions.slowWrite128, functions.writeSlow128, 16],
  ] as const) {
    write(reference, (f, ...params) => {
      f.if(i32.eq(call(status, ...params), WRITE_STATUS.code), () => {
        f.do(call(functions.writeElsewhere, params[0]!, bytes ?? params[2]!));
      });
    });
  }
}
