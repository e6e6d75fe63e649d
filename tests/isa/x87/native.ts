/**
 * Runs x87 cases on the host's own processor: a 32-bit Linux program, written here byte by byte, that loads the state with
 * FRSTOR, executes the instruction and saves the state with FNSAVE. Needs an x86 Linux host; no compiler.
 */
import { spawnSync } from "node:child_process";
import { closeSync, mkdtempSync, openSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { writeElf } from "../../oracle/elf.ts";
import { EAX, FLAGS_MASK, type X87Case, type X87Result } from "./cases.ts";

const TEXT = 0x0804_8000;
const DATA = 0x0805_0000;
const INPUT = DATA;
const OUTPUT = DATA + 0x1000;
const STACK_TOP = DATA + 0x3000;
/** Bytes of a case and of a result, as the program reads and writes them. */
const RECORD = 144;
const IN = { code: 0, image: 16, eflags: 124, memory: 128 } as const;
const OUT = { image: 0, eflags: 108, eax: 112, memory: 116 } as const;
/** Bytes reserved for the instruction under test, filled up with NOPs. */
const SLOT_BYTES = 8;
const NOP = 0x90;

function dword(value: number): number[] {
  return [0, 8, 16, 24].map((shift) => (value >>> shift) & 0xff);
}

const MOV = { eax: 0xb8, ecx: 0xb9, edx: 0xba, ebx: 0xbb, esp: 0xbc, esi: 0xbe, edi: 0xbf } as const;
const mov = (register: keyof typeof MOV, value: number): number[] => [MOV[register], ...dword(value)];
const SYSCALL = [0xcd, 0x80];
const REP_MOVSB = [0xf3, 0xa4];
const SYS = { exit: 1, read: 3, write: 4 } as const;

function program(): Uint8Array {
  const start = mov("esp", STACK_TOP);
  const read = [...mov("eax", SYS.read), ...mov("ebx", 0), ...mov("ecx", INPUT), ...mov("edx", RECORD), ...SYSCALL];
  const leave = [...mov("eax", SYS.exit), ...mov("ebx", 0), ...SYSCALL];
  // cmp eax, RECORD; je over the exit.
  const check = [0x3d, ...dword(RECORD), 0x74, leave.length, ...leave];
  const head = [...start, ...read, ...check];
  const setUp = (slot: number): number[] => [
    ...mov("esi", INPUT + IN.code),
    ...mov("edi", slot),
    ...mov("ecx", SLOT_BYTES),
    ...REP_MOVSB,
    ...mov("esi", INPUT + IN.memory),
    ...mov("edi", OUTPUT + OUT.memory),
    ...mov("ecx", 16),
    ...REP_MOVSB,
    ...[0xdd, 0x25, ...dword(INPUT + IN.image)], // frstor
    ...[0xff, 0x35, ...dword(INPUT + IN.eflags), 0x9d], // push, popfd
    ...mov("esi", OUTPUT + OUT.memory),
    ...mov("eax", EAX),
  ];
  const slot = TEXT + head.length + setUp(0).length;
  const finish = [
    0x9c, // pushfd
    ...[0xdd, 0x35, ...dword(OUTPUT + OUT.image)], // fnsave
    ...[0x8f, 0x05, ...dword(OUTPUT + OUT.eflags)], // pop
    ...[0xa3, ...dword(OUTPUT + OUT.eax)],
    ...mov("eax", SYS.write),
    ...mov("ebx", 1),
    ...mov("ecx", OUTPUT),
    ...mov("edx", RECORD),
    ...SYSCALL,
  ];
  const body = [...head, ...setUp(slot), ...new Array<number>(SLOT_BYTES).fill(NOP), ...finish];
  const back = start.length - (body.length + 5);
  return Uint8Array.from([...body, 0xe9, ...dword(back)]);
}

function encode(test: X87Case, target: Buffer): void {
  target.fill(NOP, IN.code, IN.code + SLOT_BYTES);
  target[IN.code] = test.row.opcode;
  // Memory operands are addressed by ESI.
  target[IN.code + 1] = test.row.mod === "mem" ? (test.row.reg << 3) | 6 : 0xc0 | (test.row.reg << 3) | test.sti;
  let tags = 0;
  for (let register = 0; register < 8; register++) if (((test.ftw >> register) & 1) === 0) tags |= 3 << (2 * register);
  for (const [index, word] of [test.fcw, test.fsw, tags].entries()) target.writeUInt32LE(word, IN.image + 4 * index);
  for (const [index, value] of test.stack.entries()) {
    target.writeBigUInt64LE(value.significand, IN.image + 28 + 10 * index);
    target.writeUInt16LE(value.signExponent, IN.image + 36 + 10 * index);
  }
  target.writeUInt32LE(test.eflags, IN.eflags);
  target.set(test.memory, IN.memory);
}

function decode(source: Buffer): X87Result {
  const tags = source.readUInt16LE(OUT.image + 8);
  let ftw = 0;
  for (let register = 0; register < 8; register++) if (((tags >> (2 * register)) & 3) !== 3) ftw |= 1 << register;
  return {
    fcw: source.readUInt16LE(OUT.image),
    fsw: source.readUInt16LE(OUT.image + 4),
    ftw,
    eflags: source.readUInt32LE(OUT.eflags) & FLAGS_MASK,
    eax: source.readUInt32LE(OUT.eax),
    stack: Array.from({ length: 8 }, (_, index) => ({
      significand: source.readBigUInt64LE(OUT.image + 28 + 10 * index),
      signExponent: source.readUInt16LE(OUT.image + 36 + 10 * index),
    })),
    memory: Uint8Array.from(source.subarray(OUT.memory, OUT.memory + 16)),
  };
}

/** Results of the host's processor, or undefined where it cannot run 32-bit x86 Linux programs. */
export function runNative(cases: readonly X87Case[]): X87Result[] | undefined {
  if (process.platform !== "linux" || process.arch !== "x64") return undefined;
  const folder = mkdtempSync(join(tmpdir(), "vmxon-x87-"));
  try {
    const executable = join(folder, "runner");
    const segments = [
      { address: TEXT, size: 0x1000, content: program(), execute: true },
      { address: DATA, size: 0x4000, content: new Uint8Array(0), execute: false },
    ];
    writeFileSync(executable, writeElf(segments, TEXT), { mode: 0o755 });
    const input = Buffer.alloc(RECORD * cases.length);
    for (const [index, test] of cases.entries()) encode(test, input.subarray(index * RECORD, (index + 1) * RECORD));
    writeFileSync(join(folder, "input"), input);
    // A file, so that every read gives a whole record.
    const stdin = openSync(join(folder, "input"), "r");
    const child = spawnSync(executable, { stdio: [stdin, "pipe", "inherit"], maxBuffer: input.length + RECORD });
    closeSync(stdin);
    if (child.error !== undefined || child.stdout.length !== input.length) return undefined;
    return cases.map((_, index) => decode(child.stdout.subarray(index * RECORD, (index + 1) * RECORD)));
  } finally {
    rmSync(folder, { recursive: true });
  }
}
