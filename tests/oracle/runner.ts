/**
 * The native runner: a 32-bit Linux program, written here byte by byte, that reads cases from its standard input and
 * writes to its standard output what the host's processor made of them. Each case is entered through sigreturn, which
 * loads every register at once, and left through the signal that its INT3 or its fault raises.
 */
import { spawnSync } from "node:child_process";
import { chmodSync, closeSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { decodeResult, encodeCase, INPUT, OUTPUT, SIGCONTEXT, type TestCase, type TestResult } from "./case.ts";
import { writeElf } from "./elf.ts";
import { CC, Emitter, R } from "./emitter.ts";
import { CODE, FPU_IMAGE, LOCAL_DESCRIPTORS, RUNNER, SCRATCH, scratchPattern, WINDOW } from "./layout.ts";

/** The runner's own memory, far from what cases address. */
const TEXT = RUNNER.base + 0x4_8000;
const TEXT_SIZE = 0x1000;
const DATA = RUNNER.base + 0x5_0000;
const RECORD = DATA;
const FRAME = DATA + 0x1000;
const FPSTATE = DATA + 0x2000;
const RESULT = DATA + 0x3000;
const EXPECTED = DATA + 0x9000;
const TABLES = DATA + 0xc000;
const STACK_TOP = DATA + 0xf000;
const SIGNAL_STACK = DATA + 0x1_0000;
const SIGNAL_STACK_SIZE = 0x1_0000;
const DATA_SIZE = 0x2_0000;

/** System call numbers of 32-bit x86 Linux. */
const SYS = {
  exit: 1,
  read: 3,
  write: 4,
  alarm: 27,
  sigreturn: 119,
  modify_ldt: 123,
  rt_sigaction: 174,
  sigaltstack: 186,
};
const SIGNALS = { SIGILL: 4, SIGTRAP: 5, SIGBUS: 7, SIGFPE: 8, SIGSEGV: 11 } as const;
const SA = { RESTORER: 0x0400_0000, ONSTACK: 0x0800_0000, NODEFER: 0x4000_0000 } as const;
/** struct _fpstate_32: the FNSAVE image, status and magic, then an FXSAVE image whose MXCSR stands at byte 24. */
const FPSTATE_MXCSR = 112 + 24;
const MXCSR_DEFAULT = 0x1f80;
/** Nothing the runner does takes this long; a case that loops for ever ends it. Seconds. */
const TIMEOUT = 120;
/** Cases for one process: their records and results stay a few megabytes. */
const BATCH = 8192;

function program(): Uint8Array {
  const e = new Emitter(TEXT);
  const tables = TABLES;
  const put = (offset: number, value: number): void => {
    e.raw(0xc7, 0x05);
    e.dword(tables + offset);
    e.dword(value);
  };
  // sigaltstack(&{sp, flags, size})
  put(0, SIGNAL_STACK);
  put(4, 0);
  put(8, SIGNAL_STACK_SIZE);
  e.systemCall(SYS.sigaltstack, tables, 0);
  // rt_sigaction(signal, &{handler, flags, restorer, mask}, 0, 8)
  e.movLabel(R.eax, "handler");
  e.store(tables, R.eax);
  put(4, SA.RESTORER | SA.ONSTACK | SA.NODEFER);
  e.store(tables + 8, R.eax);
  put(12, 0);
  put(16, 0);
  for (const signal of Object.values(SIGNALS)) e.systemCall(SYS.rt_sigaction, signal, tables, 0, 8);
  for (const [i, d] of LOCAL_DESCRIPTORS.entries()) {
    const contents = d.kind === "code" ? 2 : d.kind === "down" ? 1 : 0;
    put(0, i);
    put(4, d.base);
    put(8, d.limit);
    put(12, +d.big | (contents << 1) | (+!d.open << 3) | (+d.pages << 4) | (+!d.present << 5) | (1 << 6));
    e.systemCall(SYS.modify_ldt, 0x11, tables, 16);
  }
  e.systemCall(SYS.alarm, TIMEOUT);

  e.label("next");
  e.mov(R.esp, STACK_TOP);
  e.systemCall(SYS.read, 0, RECORD, INPUT.size);
  e.raw(0x3d); // cmp eax, imm32
  e.dword(INPUT.size);
  e.jcc(CC.ne, "end");
  e.load(R.edi, RECORD + INPUT.codeAddress);
  e.mov(R.esi, RECORD + INPUT.code);
  e.mov(R.ecx, CODE.bytes / 4);
  e.raw(0xf3, 0xa5); // rep movsd
  e.copy(FRAME, RECORD + INPUT.sigcontext, SIGCONTEXT.size / 4);
  e.copy(FPSTATE, RECORD + INPUT.fpu, FPU_IMAGE.size / 4);
  e.copy(WINDOW.base, RECORD + INPUT.window, WINDOW.size / 4);
  e.copy(EXPECTED + WINDOW.base - SCRATCH.base, RECORD + INPUT.window, WINDOW.size / 4);
  e.mov(R.eax, FPSTATE);
  e.store(FRAME + SIGCONTEXT.fpstate, R.eax);
  e.load(R.eax, RECORD + INPUT.keptFlags);
  e.raw(0x50, 0x9d); // push eax; popfd
  e.mov(R.esp, FRAME); // sigreturn finds the sigcontext at esp
  e.mov(R.eax, SYS.sigreturn);
  e.raw(0xcd, 0x80);

  e.label("handler");
  e.raw(0x6a, 0x02, 0x9d); // push 2; popfd: AC would make what follows fault
  e.raw(0x8d, 0x74, 0x24, 0x08); // lea esi, [esp+8]
  e.mov(R.edi, RESULT + OUTPUT.sigcontext);
  e.mov(R.ecx, SIGCONTEXT.size / 4);
  e.raw(0xf3, 0xa5);
  e.load(R.eax, RESULT + SIGCONTEXT.eip);
  e.raw(0x2d); // sub eax, imm32
  e.dword(TEXT);
  e.raw(0x3d); // cmp eax, imm32
  e.dword(TEXT_SIZE);
  e.jcc(CC.b, "broken");
  e.load(R.esi, RESULT + SIGCONTEXT.fpstate);
  e.mov(R.ecx, FPU_IMAGE.size / 4);
  e.raw(0xf3, 0xa5);
  e.mov(R.esp, STACK_TOP);
  e.mov(R.ebx, RESULT + OUTPUT.changes);
  e.mov(R.esi, SCRATCH.base);
  e.mov(R.edi, EXPECTED);
  e.mov(R.ecx, SCRATCH.size / 4);
  e.label("compare");
  e.raw(0xf3, 0xa7); // repe cmpsd
  e.jcc(CC.e, "compared");
  e.raw(0x8d, 0x46, 0xfc); // lea eax, [esi-4]
  e.raw(0x89, 0x03); // mov [ebx], eax
  e.raw(0x8b, 0x46, 0xfc); // mov eax, [esi-4]
  e.raw(0x89, 0x43, 0x04); // mov [ebx+4], eax
  e.raw(0x83, 0xc3, 0x08); // add ebx, 8
  e.raw(0x8b, 0x47, 0xfc); // mov eax, [edi-4]
  e.raw(0x89, 0x46, 0xfc); // mov [esi-4], eax
  e.raw(0x85, 0xc9); // test ecx, ecx
  e.jcc(CC.ne, "compare");
  e.label("compared");
  e.raw(0x89, 0xda); // mov edx, ebx
  e.raw(0x81, 0xea); // sub edx, imm32
  e.dword(RESULT + OUTPUT.changes);
  e.raw(0x89, 0xd0, 0xc1, 0xe8, 0x03); // mov eax, edx; shr eax, 3
  e.store(RESULT + OUTPUT.count, R.eax);
  e.raw(0x81, 0xc2); // add edx, imm32
  e.dword(OUTPUT.changes);
  e.systemCall(SYS.write, 1, RESULT);
  // All of it: a case may have written to code pages.
  e.mov(R.edi, CODE.base);
  e.mov(R.eax, 0xcccccccc);
  e.mov(R.ecx, CODE.size / 4);
  e.raw(0xf3, 0xab); // rep stosd
  e.jmp("next");

  e.label("end");
  e.systemCall(SYS.exit, 0);
  // A signal came from the runner itself.
  e.label("broken");
  e.systemCall(SYS.exit, 2);
  return e.finish();
}

/** The runner as an ELF file. */
export function runnerImage(): Uint8Array {
  const data = new Uint8Array(TABLES - DATA);
  data.set(scratchPattern(), EXPECTED - DATA);
  new DataView(data.buffer).setUint32(FPSTATE - DATA + FPSTATE_MXCSR, MXCSR_DEFAULT, true);
  return writeElf(
    [
      { address: CODE.base, size: CODE.size, content: new Uint8Array(CODE.size).fill(0xcc), execute: true },
      { address: SCRATCH.base, size: SCRATCH.size, content: scratchPattern(), execute: false },
      { address: TEXT, size: TEXT_SIZE, content: program(), execute: true },
      { address: DATA, size: DATA_SIZE, content: data, execute: false },
    ],
    TEXT,
  );
}

/** Runs cases on the processor of this host; to be disposed of with `close`. */
export class NativeRunner {
  readonly #folder: string;
  readonly #program: string;

  constructor() {
    this.#folder = mkdtempSync(join(tmpdir(), "vmxon-oracle-"));
    this.#program = join(this.#folder, "runner");
    writeFileSync(this.#program, runnerImage());
    chmodSync(this.#program, 0o755);
  }

  /** The results of all cases, in order. Throws when the runner ends early (a case that never ended, say). */
  run(cases: readonly TestCase[]): TestResult[] {
    const results: TestResult[] = [];
    for (let i = 0; i < cases.length; i += BATCH) results.push(...this.#batch(cases.slice(i, i + BATCH)));
    return results;
  }

  close(): void {
    rmSync(this.#folder, { recursive: true, force: true });
  }

  #batch(cases: readonly TestCase[]): TestResult[] {
    const input = new DataView(new ArrayBuffer(cases.length * INPUT.size));
    for (const [i, test] of cases.entries()) encodeCase(test, input, i * INPUT.size);
    const inputPath = join(this.#folder, "in");
    const outputPath = join(this.#folder, "out");
    writeFileSync(inputPath, new Uint8Array(input.buffer));
    const stdin = openSync(inputPath, "r");
    const stdout = openSync(outputPath, "w");
    const { status, signal } = spawnSync(this.#program, [], { stdio: [stdin, stdout, "inherit"] });
    closeSync(stdin);
    closeSync(stdout);
    const file = readFileSync(outputPath);
    const output = new DataView(file.buffer, file.byteOffset, file.length);
    const results: TestResult[] = [];
    let offset = 0;
    for (const test of cases) {
      if (offset >= output.byteLength) break;
      const { result, next } = decodeResult(output, offset, test);
      results.push(result);
      offset = next;
    }
    if (status !== 0 || results.length !== cases.length) {
      const last = cases[results.length];
      const code = last === undefined ? "" : `: ${last.form}: ${Buffer.from(last.code).toString("hex")}`;
      throw new Error(`native runner ended with ${signal ?? status} at case ${results.length}${code}`);
    }
    return results;
  }
}

/** A native runner, or why this host cannot have one: it takes Linux on x86 that runs 32-bit programs. */
export function openNativeRunner(probe: TestCase): NativeRunner | string {
  if (process.platform !== "linux" || (process.arch !== "x64" && process.arch !== "ia32")) {
    return "not an x86 Linux host";
  }
  const runner = new NativeRunner();
  try {
    runner.run([probe]);
    return runner;
  } catch (error) {
    runner.close();
    return `this host does not run the 32-bit runner: ${(error as Error).message}`;
  }
}
