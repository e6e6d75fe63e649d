/**
 * The decoded-operation cache: turns guest code into blocks of operation records, finds them by machine address, and
 * drops those whose bytes are written to.
 */
import { DECODE, decode, Instruction, MAX_LENGTH } from "../isa/decoder.ts";
import { type FeatureTest, type OpcodeMap, opcodeMap } from "../isa/opcode-map.ts";
import { SEG } from "../isa/state.ts";
import { type Cpu, MODE, WORD } from "./cpu.ts";
import { enterBlock, hashRecord } from "./interpreter/block-hash.ts";
import { HANDLER, type Interpreter } from "./interpreter/generate.ts";
import { BLOCK, BLOCK_BYTES, BLOCK_FLAG, HELPER_LINK, NEVER, RECORD, RECORD_BYTES } from "./interpreter/record.ts";
import {
  BLOCK_HASH,
  CODE_BITS,
  GRANULE_SHIFT,
  HASH_ENTRIES,
  HASH_STRIDE,
  OPERATIONS,
  OPERATIONS_BYTES,
  SCRATCH_BLOCK,
} from "./memory-map.ts";
import { NO_ARM, OperationWriter } from "./operation-writer.ts";

/** Longest block, in operations; RECORD.offset and RECORD.count are bytes. */
const MAX_OPERATIONS = 32;
const MAX_BLOCK_BYTES = BLOCK_BYTES + (MAX_OPERATIONS + 1) * RECORD_BYTES;
/** The cache is a ring of so many segments: the oldest is emptied when room is needed. */
const SEGMENTS = 16;
const SEGMENT_BYTES = OPERATIONS_BYTES / SEGMENTS;
const PAGE = 4096;

/** What the translator asks of the region compiler: see `compiler/compiler.ts`. */
export interface CompiledCode {
  codeFor(block: number, machine: number, mode: number): number;
  covers(start: number, end: number): boolean;
  granulesOf(page: number): number;
  invalidate(start: number, end: number): void;
  blocksFlushed(): void;
  /** Blocks in this range of addresses are gone. */
  blocksEvicted(start: number, end: number): void;
}

export class Translator {
  readonly #cpu: Cpu;
  readonly #interpreter: Interpreter;
  readonly #opcodes: OpcodeMap;
  readonly #writer: OperationWriter;
  readonly #instruction = new Instruction();
  /** Bytes of an instruction gathered from two pages. */
  readonly #gathered = new Uint8Array(MAX_LENGTH + 1);
  /** Block of which the scratch block is a cut copy, or 0. */
  #cutFrom = 0;
  /** Compiled code, which new blocks may have and writes may hit. */
  #compiled: CompiledCode | undefined;
  /** Blocks by machine page, for invalidation. */
  readonly #pages = new Map<number, number[]>();
  #next = OPERATIONS;
  /** The segment that is being filled, and where the blocks of each end. */
  #segment = 0;
  readonly #ends = new Int32Array(SEGMENTS);
  /** Blocks decoded since the domain started, times the cache was emptied, and blocks dropped for their code or room. */
  readonly statistics = { blocks: 0, operations: 0, flushes: 0, invalidated: 0, evicted: 0 };

  constructor(cpu: Cpu, interpreter: Interpreter, has: FeatureTest) {
    this.#cpu = cpu;
    this.#interpreter = interpreter;
    this.#opcodes = opcodeMap(has);
    this.#writer = new OperationWriter(cpu, interpreter);
    cpu.onCodeWrite = (machine, bytes) => this.invalidate(machine, bytes);
    cpu.coversCode = (machine, bytes) => this.coversCode(machine, bytes);
  }

  /** False: what is decoded from now on leaves to helpers what natives could do; for comparing the two. */
  set natives(use: boolean) {
    this.#writer.natives = use;
  }

  setCompiled(compiled: CompiledCode): void {
    this.#compiled = compiled;
  }

  /**
   * The words of the operation record of an instruction that stands alone, as the `count`th of its block, for mode key
   * `mode`. Valid until the next call.
   */
  describe(instruction: Instruction, count: number, mode: number): Int32Array {
    const record = SCRATCH_BLOCK + BLOCK_BYTES;
    this.#writer.write(this.#writer.plan(instruction), instruction, record, 0, instruction.length, count, mode);
    return this.#cpu.i32.subarray(record >> 2, (record + RECORD_BYTES) >> 2);
  }

  /** Addresses of the blocks that begin on a machine page or reach into it. */
  blocksOn(page: number): readonly number[] {
    return this.#pages.get(page >>> 12) ?? [];
  }

  /** Forget everything decoded. Not while a block runs. */
  flush(): void {
    const { i32 } = this.#cpu;
    i32.fill(0, BLOCK_HASH >> 2, (BLOCK_HASH + HASH_ENTRIES * HASH_STRIDE) >> 2);
    for (const page of this.#pages.keys()) i32[(CODE_BITS >> 2) + page] = 0;
    this.#pages.clear();
    this.#cutFrom = 0;
    this.#next = OPERATIONS;
    this.#segment = 0;
    this.#ends.fill(0);
    this.#compiled?.blocksFlushed();
    this.statistics.flushes++;
  }

  /** Go on in the next segment, whose blocks are the oldest. */
  #nextSegment(): void {
    this.#ends[this.#segment] = this.#next;
    this.#segment = (this.#segment + 1) % SEGMENTS;
    const start = OPERATIONS + this.#segment * SEGMENT_BYTES;
    const end = this.#ends[this.#segment]!;
    this.#ends[this.#segment] = 0;
    if (end > start) this.#evict(start, end);
    this.#next = start;
  }

  /** Forget the blocks in [start, end), which are whole segments. Not while a block runs. */
  #evict(start: number, end: number): void {
    const { i32 } = this.#cpu;
    const pages = new Set<number>();
    for (let block = start; block < end; block = this.#blockEnd(block)) {
      const machine = i32[(block + BLOCK.machine) >> 2]!;
      this.#unhash(block, machine);
      pages.add(machine >>> 12);
      const crossing = i32[(block + BLOCK.crossing) >> 2]!;
      if (crossing !== 0) pages.add(crossing >>> 12);
      this.statistics.evicted++;
    }
    for (const page of pages) this.#keep(page, (block) => block < start || block >= end);
    if (this.#cutFrom >= start && this.#cutFrom < end) this.#cutFrom = 0;
    this.#compiled?.blocksEvicted(start, end);
    // Links are followed unseen. To look at all of them takes milliseconds, once in a segment.
    for (const [segment, segmentEnd] of this.#ends.entries()) {
      for (let block = OPERATIONS + segment * SEGMENT_BYTES; block < segmentEnd; block = this.#blockEnd(block))
        this.#unlink(block, start, end);
    }
    this.#unlink(SCRATCH_BLOCK, start, end);
  }

  #blockEnd(block: number): number {
    return block + BLOCK_BYTES + (this.#cpu.i32[(block + BLOCK.count) >> 2]! + 1) * RECORD_BYTES;
  }

  /** Clear the links of a block's operations that lead to blocks in [start, end). */
  #unlink(block: number, start: number, end: number): void {
    const { i32 } = this.#cpu;
    const behind = this.#blockEnd(block) >> 2;
    for (let at = (block + BLOCK_BYTES + RECORD.link) >> 2; at < behind; at += RECORD_BYTES >> 2) {
      const link = i32[at]!;
      if (link >= start && link < end) i32[at] = 0;
    }
  }

  /** Of the blocks of a page keep those that `wanted` says, and mark the code that remains. */
  #keep(page: number, wanted: (block: number) => boolean): void {
    const kept: number[] = [];
    let mask = this.#compiled?.granulesOf(page) ?? 0;
    for (const block of this.#pages.get(page) ?? []) {
      if (!wanted(block)) continue;
      kept.push(block);
      mask |= this.#granules(block, page);
    }
    this.#cpu.i32[(CODE_BITS >> 2) + page] = mask;
    if (kept.length > 0) this.#pages.set(page, kept);
    else this.#pages.delete(page);
  }

  /**
   * Decode the block at CS:EIP, whose first byte is at `machine`, and enter it in the cache. `secondPage` gives the
   * machine offset of the next linear page, or -1 while that is not known to be executable.
   * Returns false when the first instruction must be fetched byte by byte instead.
   */
  translate(machine: number, eip: number, secondPage: () => number): boolean {
    if (this.#next + MAX_BLOCK_BYTES > OPERATIONS + (this.#segment + 1) * SEGMENT_BYTES) this.#nextSegment();
    const cpu = this.#cpu;
    const writer = this.#writer;
    const instruction = this.#instruction;
    const mode = cpu.i32[WORD.modeKey]!;
    const bits = mode & MODE.code32 ? 32 : 16;
    const block = this.#next;
    const pageEnd = (machine & -PAGE) + PAGE;
    let at = machine;
    let count = 0;
    let crossing = 0;
    let record = block + BLOCK_BYTES;
    const limit = cpu.segment(SEG.CS, "limit") >>> 0;
    while (count < MAX_OPERATIONS && at < pageEnd && at - machine < 255 - MAX_LENGTH) {
      let length = decode(cpu.u8, at, pageEnd, bits, instruction, this.#opcodes);
      if (length === DECODE.needMore) {
        if (count > 0) break;
        const second = secondPage();
        if (second < 0) return false;
        const here = pageEnd - at;
        this.#gathered.set(cpu.u8.subarray(at, pageEnd));
        this.#gathered.set(cpu.u8.subarray(second, second + MAX_LENGTH + 1 - here), here);
        length = decode(this.#gathered, 0, MAX_LENGTH + 1, bits, instruction, this.#opcodes);
        crossing = second;
      }
      if (
        length === DECODE.tooLong ||
        ((mode & MODE.flat) === 0 && (eip >>> 0) + (at - machine) + length - 1 > limit)
      ) {
        if (count > 0) break;
        return false;
      }
      count++;
      const plan = writer.plan(instruction);
      writer.write(plan, instruction, record, at - machine, length, count, mode);
      if (plan.condition >= 0 && count > 1 && mode & MODE.flat && instruction.operandSize === 32)
        this.#fuse(record - RECORD_BYTES, plan.condition);
      record += RECORD_BYTES;
      at += length;
      if (plan.ends || crossing) break;
    }
    writer.writeEnd(record, at - machine, count);
    const { i32 } = cpu;
    i32[(block + BLOCK.count) >> 2] = count;
    i32[(block + BLOCK.bytes) >> 2] = at - machine;
    i32[(block + BLOCK.flags) >> 2] =
      (mode & MODE.flat ? 0 : BLOCK_FLAG.checkLimit) | (crossing ? BLOCK_FLAG.crosses : 0);
    i32[(block + BLOCK.machine) >> 2] = machine;
    i32[(block + BLOCK.mode) >> 2] = mode;
    i32[(block + BLOCK.crossing) >> 2] = crossing;
    this.#next = record + RECORD_BYTES;
    const code = crossing ? NEVER : (this.#compiled?.codeFor(block, machine, mode) ?? NEVER);
    i32[(block + BLOCK.code) >> 2] = code;
    enterBlock(i32, machine, mode, block, Math.max(code, 0));
    this.#protect(block, machine, Math.min(at, pageEnd) - machine);
    if (crossing) this.#protect(block, crossing, at - pageEnd);
    this.statistics.blocks++;
    this.statistics.operations += count;
    return true;
  }

  /** If the record at `first` goes with the conditional jump written behind it, make them one operation. */
  #fuse(first: number, condition: number): void {
    const { view, i32 } = this.#cpu;
    const handler = view.getUint16(first + RECORD.handler, true);
    const fused = this.#interpreter.fused[handler * 16 + condition];
    if (fused === undefined || fused === NO_ARM) return;
    view.setUint16(first + RECORD.handler, fused, true);
    // What it does alone, for when a cut separates the two.
    i32[(first + RECORD.link) >> 2] = handler;
  }

  /** Mark the granules that a block's code lies in, so that writes to them are seen. */
  #protect(block: number, machine: number, bytes: number): void {
    const page = machine >>> 12;
    const { i32 } = this.#cpu;
    let mask = 0;
    for (let g = (machine & 4095) >> GRANULE_SHIFT; g <= ((machine + bytes - 1) & 4095) >> GRANULE_SHIFT; g++)
      mask |= 1 << g;
    const word = (CODE_BITS >> 2) + page;
    if (i32[word] === 0) this.#cpu.protectCode(machine);
    i32[word]! |= mask;
    const list = this.#pages.get(page);
    if (list) list.push(block);
    else this.#pages.set(page, [block]);
  }

  /** Machine bytes were written: drop the blocks that decoded them. The running block stops after its operation. */
  invalidate(machine: number, bytes: number): void {
    const { i32 } = this.#cpu;
    const end = machine + bytes;
    for (let page = machine >>> 12; page <= (end - 1) >>> 12; page++) {
      const word = (CODE_BITS >> 2) + page;
      const start = Math.max(machine, page << 12);
      const stop = Math.min(end, (page + 1) << 12);
      let hit = 0;
      for (let g = (start & 4095) >> GRANULE_SHIFT; g <= ((stop - 1) & 4095) >> GRANULE_SHIFT; g++) hit |= 1 << g;
      if ((i32[word]! & hit) === 0) continue;
      this.#compiled?.invalidate(start, stop);
      const list = this.#pages.get(page) ?? [];
      // Data beside code in one granule is common in DOS programs: mostly nothing is hit.
      if (!list.some((block) => this.#covers(block, start, stop))) continue;
      for (const block of list) if (this.#covers(block, start, stop)) this.#kill(block);
      this.#keep(page, (block) => !this.#covers(block, start, stop));
    }
  }

  /** Whether any of `bytes` at `machine`, within one page, is decoded code. */
  coversCode(machine: number, bytes: number): boolean {
    if (this.#compiled?.covers(machine, machine + bytes)) return true;
    const list = this.#pages.get(machine >>> 12);
    if (!list) return false;
    for (const block of list) if (this.#covers(block, machine, machine + bytes)) return true;
    return false;
  }

  /** Whether any byte of [start, stop) is code of `block`, in either of its pages. */
  #covers(block: number, start: number, stop: number): boolean {
    const { i32 } = this.#cpu;
    const machine = i32[(block + BLOCK.machine) >> 2]!;
    const end = machine + i32[(block + BLOCK.bytes) >> 2]!;
    const pageEnd = (machine & -PAGE) + PAGE;
    if (start < Math.min(end, pageEnd) && machine < stop) return true;
    const crossing = i32[(block + BLOCK.crossing) >> 2]!;
    return crossing !== 0 && start < crossing + end - pageEnd && crossing < stop;
  }

  /** Granules of `page` that `block` covers. */
  #granules(block: number, page: number): number {
    const { i32 } = this.#cpu;
    const machine = i32[(block + BLOCK.machine) >> 2]!;
    const bytes = i32[(block + BLOCK.bytes) >> 2]!;
    let first = machine;
    let last = machine + bytes - 1;
    if (machine >>> 12 === page) {
      last = Math.min(last, (page << 12) + PAGE - 1);
    } else {
      const here = PAGE - (machine & (PAGE - 1));
      first = page << 12;
      last = first + bytes - here - 1;
    }
    let mask = 0;
    for (let g = (first & 4095) >> GRANULE_SHIFT; g <= (last & 4095) >> GRANULE_SHIFT; g++) mask |= 1 << g;
    return mask;
  }

  /** Take a block out of the table by which it is found. */
  #unhash(block: number, machine: number): void {
    const { i32 } = this.#cpu;
    const slot = hashRecord(i32, machine, i32[(block + BLOCK.mode) >> 2]!);
    if (slot >= 0 && i32[slot + 2] === block) i32[slot] = 0;
  }

  /** Turn every operation of a block into one that looks the code up anew, and take it out of the cache. */
  #kill(block: number): void {
    const { i32 } = this.#cpu;
    const machine = i32[(block + BLOCK.machine) >> 2]!;
    const count = i32[(block + BLOCK.count) >> 2]!;
    this.#unhash(block, machine);
    i32[(block + BLOCK.code) >> 2] = NEVER;
    this.#endAll(block, count);
    // A copy of its beginning may be what runs.
    if (block === this.#cutFrom) this.#endAll(SCRATCH_BLOCK, i32[(SCRATCH_BLOCK + BLOCK.count) >> 2]!);
    // The hash may hold a twin for another mode in this slot, and a link may lead here: both find `end` operations.
    this.statistics.invalidated++;
  }

  /** Make every operation of a block the one that ends it, having done those before. */
  #endAll(block: number, count: number): void {
    const { i32, u8, view } = this.#cpu;
    for (let i = 0; i < count; i++) {
      const record = block + BLOCK_BYTES + i * RECORD_BYTES;
      view.setUint16(record + RECORD.handler, HANDLER.end, true);
      u8[record + RECORD.count] = i;
      i32[(record + RECORD.link) >> 2] = 0;
    }
  }

  /**
   * Put the first `count` operations of the cached block at `machine` into the scratch block. Returns false when the
   * block is not there.
   */
  cut(machine: number, count: number): boolean {
    const { i32, u8, view } = this.#cpu;
    const slot = hashRecord(i32, machine, this.#cpu.i32[WORD.modeKey]!);
    if (slot < 0) return false;
    const block = i32[slot + 2]!;
    const whole = i32[(block + BLOCK.count) >> 2]!;
    const n = Math.min(count, whole);
    const bytes = BLOCK_BYTES + (n + 1) * RECORD_BYTES;
    u8.copyWithin(SCRATCH_BLOCK, block, block + bytes);
    i32[(SCRATCH_BLOCK + BLOCK.count) >> 2] = n;
    i32[(SCRATCH_BLOCK + BLOCK.code) >> 2] = NEVER;
    const last = SCRATCH_BLOCK + BLOCK_BYTES + (n - 1) * RECORD_BYTES;
    const [fusedStart, fusedEnd] = this.#interpreter.fusedRange;
    const handler = view.getUint16(last + RECORD.handler, true);
    if (handler >= fusedStart && handler < fusedEnd) {
      view.setUint16(last + RECORD.handler, i32[(last + RECORD.link) >> 2]!, true);
    }
    this.#cutFrom = block;
    for (let i = 0; i < n; i++)
      i32[(SCRATCH_BLOCK + BLOCK_BYTES + i * RECORD_BYTES + RECORD.link) >> 2]! = this.#cutLink(
        SCRATCH_BLOCK + BLOCK_BYTES + i * RECORD_BYTES,
      );
    this.#writer.writeEnd(
      SCRATCH_BLOCK + BLOCK_BYTES + n * RECORD_BYTES,
      u8[SCRATCH_BLOCK + BLOCK_BYTES + n * RECORD_BYTES + RECORD.offset]!,
      n,
    );
    return true;
  }

  /** Links of branches must not be followed out of a cut block's copy; a helper's number stands in the same place. */
  #cutLink(record: number): number {
    const link = this.#cpu.i32[(record + RECORD.link) >> 2]!;
    return link & HELPER_LINK ? link : 0;
  }

  /**
   * Decode a single instruction from `bytes` (at least 15, or what could be fetched) into the scratch block.
   * Returns its length, or a negative DECODE code when the bytes do not make an instruction.
   */
  single(bytes: Uint8Array, available: number): number {
    const mode = this.#cpu.i32[WORD.modeKey]!;
    const bits = mode & MODE.code32 ? 32 : 16;
    const length = decode(bytes, 0, available, bits, this.#instruction, this.#opcodes);
    if (length < 0) return length;
    const { i32 } = this.#cpu;
    this.#cutFrom = 0;
    i32[(SCRATCH_BLOCK + BLOCK.count) >> 2] = 1;
    i32[(SCRATCH_BLOCK + BLOCK.bytes) >> 2] = length;
    i32[(SCRATCH_BLOCK + BLOCK.flags) >> 2] = 0;
    i32[(SCRATCH_BLOCK + BLOCK.code) >> 2] = NEVER;
    const plan = this.#writer.plan(this.#instruction);
    this.#writer.write(plan, this.#instruction, SCRATCH_BLOCK + BLOCK_BYTES, 0, length, 1, mode);
    this.#writer.writeEnd(SCRATCH_BLOCK + BLOCK_BYTES + RECORD_BYTES, length, 1);
    return length;
  }
}
