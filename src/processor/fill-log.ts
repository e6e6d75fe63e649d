/**
 * The fill log: a ring of records, one for each shadow entry that a CR3 load drops, with the guest's table entries that
 * justified it. The records from MMU.start on are those of the entries in use; the ones before tell what earlier address
 * spaces used, and are entered again if the guest's tables still say the same: a processor may load its TLB from the
 * current tables at any time (SDM 3A 4.10.2.3), so nothing needs to be watched for that.
 */
import { call, i32, type Value } from "../wasm/expression.ts";
import { FunctionWriter } from "../wasm/function.ts";
import type { FunctionReference, ModuleWriter, ValueType } from "../wasm/module.ts";
import {
  FILL_LOG,
  FILL_LOG_RECORDS,
  FILL_RECORD,
  FILL_RECORD_BYTES,
  GLOBAL_FILL_CAPACITY,
  GLOBAL_FILLS,
  MMU,
  mappingEpoch,
  SHADOW,
  TABLE_SHIFT,
  WRITABLE,
  WRITABLE_MANY,
} from "./memory-map.ts";
import { CODE_MARK, codeBitsOf, isNone, noneFor, pageOfEntry } from "./shadow.ts";

const PAGE_MASK = -4096;
/** Dirty bit of page-table entries. */
const DIRTY = 0x40;
/** In FILL_RECORD.slot: the entry is one of a write table. */
const IS_WRITE = 1;

/** Whoever relies on what entries said looks at the epochs of these only. */
const EXECUTE_TABLES = [SHADOW.executeSupervisor, SHADOW.executeUser];

/** WebAssembly functions on the log. */
export interface FillLog {
  /** Exported as clearFills: (from, to): drop the entries of these records. */
  readonly clear: FunctionReference;
  /** (machine offset, address of a write entry): it is, or becomes, a plain one for that page. */
  readonly noteWritable: FunctionReference;
}

/** Declare and write the functions; exports clearFills, restoreFills and clearGlobals. */
export function defineFillLog(module: ModuleWriter): FillLog {
  const declare = (params: number, results: number, exported?: string): FunctionReference =>
    module.declare(
      { params: new Array<ValueType>(params).fill("i32"), results: new Array<ValueType>(results).fill("i32") },
      exported,
    );
  const log: FillLog = { clear: declare(2, 0, "clearFills"), noteWritable: declare(2, 0) };
  const write = (reference: FunctionReference, body: (f: FunctionWriter, ...params: Value[]) => void): void => {
    const f = new FunctionWriter(reference.type);
    body(f, ...f.params.map((p) => p.get));
    module.define(reference, f.finish());
  };

  write(log.clear, (f, from, to) => {
    const dropped = f.temporary("i32");
    f.set(dropped, 0);
    forEachRecord(f, from!, to!, (record) => {
      const slot = f.let(i32.and(i32.load(record, FILL_RECORD.slot), ~IS_WRITE));
      f.store32(slot, noneFor(slot));
      f.set(dropped, i32.or(dropped.get, tableBit(slot)));
    });
    for (const table of EXECUTE_TABLES)
      f.if(i32.and(dropped.get, 1 << (table >>> TABLE_SHIFT)), () => endEpoch(f, table));
  });

  write(declare(0, 0, "clearGlobals"), clearGlobals);

  write(log.noteWritable, (f, machine, slot) => {
    const word = f.let(i32.and(i32.shrU(machine!, 10), -4));
    const known = f.let(i32.load(word, WRITABLE));
    f.if(i32.or(i32.eq(known, slot!), i32.eq(known, WRITABLE_MANY)), () => f.return());
    const stillThere = i32.eq(i32.load(known), i32.xor(i32.and(machine!, PAGE_MASK), pageOfEntry(known)));
    f.store32(word, i32.select(i32.and(i32.ne(known, 0), stillThere), WRITABLE_MANY, slot!), WRITABLE);
  });

  // (from, to, pae): enter again what is still true, as records at the head of the log; returns their number.
  write(declare(3, 1, "restoreFills"), (f, from, to, pae) => {
    const head = f.temporary("i32");
    f.set(head, i32.load(MMU.head));
    forEachRecord(f, from!, to!, (record) => {
      f.block((skip) => {
        const part = (name: keyof typeof FILL_RECORD): Value => i32.load(record, FILL_RECORD[name]);
        const flagged = f.let(part("slot"));
        const slot = f.let(i32.and(flagged, ~IS_WRITE));
        const pdeAt = f.let(part("pdeAt"));
        const pteAt = f.let(part("pteAt"));
        f.brIf(i32.or(changed(pteAt, f.let(part("pte"))), changed(pdeAt, f.let(part("pde")))), skip);
        // The page directory may be another one: the page-directory-pointer entries, or CR3, may have changed.
        const quarter = i32.and(i32.shrU(slot, 18), 0xc);
        f.brIf(i32.xor(i32.and(pdeAt, PAGE_MASK), i32.load(quarter, MMU.directories)), skip);
        f.if(pae, () => {
          const high = i32.xor(i32.load(pteAt, 4), part("pteHigh"));
          f.brIf(i32.or(high, i32.xor(i32.load(pdeAt, 4), part("pdeHigh"))), skip);
        });
        const linear = f.let(pageOfEntry(slot));
        f.brIf(i32.eqz(isNone(i32.load(slot), linear)), skip);
        const entry = f.temporary("i32");
        f.set(entry, part("entry"));
        f.if(i32.and(flagged, IS_WRITE), () => {
          const machine = f.let(i32.xor(entry.get, linear));
          // What the guest writes there is noted, page by page: see AddressSpaces.takeWritten.
          f.brIf(i32.geU(machine, i32.load(MMU.devices)), skip);
          f.if(
            codeBitsOf(machine),
            () => f.set(entry, i32.xor(entry.get, CODE_MARK)),
            () => f.do(call(log.noteWritable, machine, slot)),
          );
        });
        f.store32(slot, entry.get);
        const copy = f.let(recordAddress(head.get));
        for (const at of Object.values(FILL_RECORD)) f.store32(copy, i32.load(record, at), at);
        f.set(head, i32.add(head.get, 1));
      });
    });
    const restored = f.let(i32.sub(head.get, i32.load(MMU.head)));
    f.store32(MMU.head, head.get);
    f.result(restored);
  });
  return log;
}

/**
 * Non-zero when an entry of the guest's tables is no longer what it was. It may have become dirty since: that matters
 * only to entries for writing, and those were recorded dirty.
 */
function changed(at: Value, recorded: Value): Value {
  return i32.and(i32.xor(i32.load(at), recorded), i32.or(recorded, ~DIRTY));
}

/** Run `body` with the address of each record from one number to another. */
function forEachRecord(f: FunctionWriter, from: Value, to: Value, body: (record: Value) => void): void {
  const number = f.temporary("i32");
  f.set(number, from);
  f.block((done) => {
    f.loop((again) => {
      f.brIf(i32.eq(number.get, to), done);
      body(f.let(recordAddress(number.get)));
      f.set(number, i32.add(number.get, 1));
      f.br(again);
    });
  });
}

/** Address of a record by its number, which counts on as the log wraps. */
function recordAddress(number: Value): Value {
  return i32.add(i32.mul(i32.and(number, FILL_LOG_RECORDS - 1), FILL_RECORD_BYTES), FILL_LOG);
}

/** Note the new entry of a page that is not global. */
export function recordFill(f: FunctionWriter, log: FillLog, values: Record<keyof typeof FILL_RECORD, Value>): void {
  const head = f.let(i32.load(MMU.head));
  f.if(i32.eq(i32.sub(head, i32.load(MMU.start)), FILL_LOG_RECORDS), () => {
    f.do(call(log.clear, i32.load(MMU.start), head));
    f.store32(MMU.start, head);
  });
  const record = f.let(recordAddress(head));
  for (const [name, value] of Object.entries(values))
    f.store32(record, value, FILL_RECORD[name as keyof typeof FILL_RECORD]);
  f.store32(MMU.head, i32.add(head, 1));
}

/** Note the new entry of a global page. */
export function recordGlobal(f: FunctionWriter, slot: Value): void {
  f.if(i32.eq(i32.load(MMU.globalCount), GLOBAL_FILL_CAPACITY), () => clearGlobals(f));
  const filled = f.let(i32.load(MMU.globalCount));
  f.store32(i32.shl(filled, 2), slot, GLOBAL_FILLS);
  f.store32(MMU.globalCount, i32.add(filled, 1));
}

/** Drop the entries of global pages. */
function clearGlobals(f: FunctionWriter): void {
  const end = f.temporary("i32");
  f.set(end, i32.shl(i32.load(MMU.globalCount), 2));
  f.block((done) => {
    f.loop((again) => {
      f.brIf(i32.eqz(end.get), done);
      f.set(end, i32.sub(end.get, 4));
      const slot = f.let(i32.load(end.get, GLOBAL_FILLS));
      f.store32(slot, noneFor(slot));
      f.br(again);
    });
  });
  f.store32(MMU.globalCount, 0);
  for (const table of EXECUTE_TABLES) endEpoch(f, table);
}

/** The bit of the table that the entry at `slot` lies in. */
function tableBit(slot: Value): Value {
  return i32.shl(1, i32.shrU(slot, TABLE_SHIFT));
}

/** Entries of the shadow table at `table` were dropped. */
function endEpoch(f: FunctionWriter, table: number): void {
  count(f, mappingEpoch(table));
}

/** Add one to a counter in memory. */
export function count(f: FunctionWriter, counter: number): void {
  f.store32(counter, i32.add(i32.load(counter), 1));
}
