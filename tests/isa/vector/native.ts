/**
 * Runs vector cases on the host's own processor: a 32-bit Linux program, written here, that loads the state with FXRSTOR
 * and leaves the instruction by the signal of its INT3 or of its fault, whose frame holds the state after it.
 */
import { spawnSync } from "node:child_process";
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { SIGCONTEXT } from "../../oracle/case.ts";
import { writeElf } from "../../oracle/elf.ts";
import { CC, Emitter, R } from "../../oracle/emitter.ts";
import { CODE_BYTES, IMAGE, PLACE, type VectorCase, WINDOW_BYTES } from "./cases.ts";
import type { VectorResult } from "./silicon.ts";

const TEXT = 0x0804_8000;
const DATA = 0x0805_0000;
const DATA_SIZE = 0x2_0000;
const INPUT = DATA;
const RESULT = DATA + 0x1000;
const TABLES = DATA + 0x2000;
const STACK_TOP = DATA + 0x8000;
const SIGNAL_STACK = DATA + 0x1_0000;
const SIGNAL_STACK_SIZE = 0x1_0000;
const PAGE = 0x1000;

const SYS = { exit: 1, read: 3, write: 4, rt_sigaction: 174, sigaltstack: 186 } as const;
const SIGNALS = { SIGILL: 4, SIGTRAP: 5, SIGBUS: 7, SIGFPE: 8, SIGSEGV: 11 } as const;
const SA = { RESTORER: 0x0400_0000, ONSTACK: 0x0800_0000, NODEFER: 0x4000_0000 } as const;
/** struct _fpstate_32: an FNSAVE image with status and magic, then the FXSAVE image. */
const FPSTATE_FXSAVE = 112;

/** Records as the program reads and writes them. */
const IN = { code: 0, registers: 16, eflags: 48, image: 64, window: 64 + IMAGE.size, size: 64 + IMAGE.size + 64 };
const OUT = { context: 0, image: 96, window: 96 + IMAGE.size, size: 96 + IMAGE.size + WINDOW_BYTES };
/** Cases for one process. */
const BATCH = 8192;

function program(): Uint8Array {
  const e = new Emitter(TEXT);
  const put = (offset: number, value: number): void => {
    e.raw(0xc7, 0x05); // mov dword [TABLES + offset], value
    e.dword(TABLES + offset);
    e.dword(value);
  };
  put(0, SIGNAL_STACK);
  put(4, 0);
  put(8, SIGNAL_STACK_SIZE);
  e.systemCall(SYS.sigaltstack, TABLES, 0);
  e.movLabel(R.eax, "handler");
  e.store(TABLES, R.eax);
  put(4, SA.RESTORER | SA.ONSTACK | SA.NODEFER);
  e.store(TABLES + 8, R.eax);
  put(12, 0);
  put(16, 0);
  for (const signal of Object.values(SIGNALS)) e.systemCall(SYS.rt_sigaction, signal, TABLES, 0, 8);

  e.label("next");
  e.mov(R.esp, STACK_TOP);
  e.systemCall(SYS.read, 0, INPUT, IN.size);
  e.raw(0x3d); // cmp eax, imm32
  e.dword(IN.size);
  e.jcc(CC.ne, "end");
  e.copy(PLACE.code, INPUT + IN.code, CODE_BYTES / 4);
  e.copy(PLACE.window, INPUT + IN.window, WINDOW_BYTES / 4);
  e.raw(0x0f, 0xae, 0x0d); // fxrstor [INPUT + IN.image]
  e.dword(INPUT + IN.image);
  e.raw(0xff, 0x35); // push dword [INPUT + IN.eflags]
  e.dword(INPUT + IN.eflags);
  e.raw(0x9d); // popfd
  for (const register of Object.values(R))
    if (register !== R.esp) e.load(register, INPUT + IN.registers + 4 * register);
  e.raw(0xff, 0x25); // jmp [INPUT + IN.registers + 4 * esp]: the slot of ESP holds the code's address
  e.dword(INPUT + IN.registers + 4 * R.esp);

  e.label("handler");
  e.raw(0xfc); // cld
  e.raw(0x8d, 0x74, 0x24, 0x08); // lea esi, [esp+8]
  e.mov(R.edi, RESULT + OUT.context);
  e.mov(R.ecx, SIGCONTEXT.size / 4);
  e.raw(0xf3, 0xa5);
  e.load(R.esi, RESULT + OUT.context + SIGCONTEXT.fpstate);
  e.raw(0x83, 0xc6, FPSTATE_FXSAVE); // add esi, imm8
  e.mov(R.edi, RESULT + OUT.image);
  e.mov(R.ecx, IMAGE.size / 4);
  e.raw(0xf3, 0xa5);
  e.copy(RESULT + OUT.window, PLACE.window, WINDOW_BYTES / 4);
  e.mov(R.esp, STACK_TOP);
  e.systemCall(SYS.write, 1, RESULT, OUT.size);
  e.jmp("next");

  e.label("end");
  e.systemCall(SYS.exit, 0);
  return e.finish();
}

function encode(test: VectorCase, target: Buffer): void {
  target.fill(0xcc, IN.code, IN.code + CODE_BYTES);
  target.set(test.code, IN.code);
  for (let i = 0; i < 8; i++) target.writeUInt32LE(test.registers[i]!, IN.registers + 4 * i);
  target.writeUInt32LE(PLACE.code, IN.registers + 4 * R.esp);
  target.writeUInt32LE(test.eflags, IN.eflags);
  target.set(test.image, IN.image);
  target.set(test.window, IN.window);
}

function decode(test: VectorCase, source: Buffer): VectorResult {
  const u32 = (name: keyof typeof SIGCONTEXT): number => source.readUInt32LE(OUT.context + SIGCONTEXT[name]);
  const names = ["eax", "ecx", "edx", "ebx", "esp", "ebp", "esi", "edi"] as const;
  return {
    vector: u32("trapno"),
    registers: Uint32Array.from(names, (name, i) => (i === R.esp ? test.registers[i]! : u32(name))),
    eflags: u32("eflags"),
    image: Uint8Array.from(source.subarray(OUT.image, OUT.image + IMAGE.size)),
    window: Uint8Array.from(source.subarray(OUT.window, OUT.window + WINDOW_BYTES)),
  };
}

/** Results of the host's processor, or undefined where it cannot run 32-bit x86 Linux programs. */
export function runNative(cases: readonly VectorCase[]): VectorResult[] | undefined {
  if (process.platform !== "linux" || process.arch !== "x64") return undefined;
  const folder = mkdtempSync(join(tmpdir(), "vmxon-vector-"));
  try {
    const executable = join(folder, "runner");
    const empty = new Uint8Array(0);
    const segments = [
      { address: PLACE.code, size: PAGE, content: empty, execute: true },
      { address: PLACE.window, size: PAGE, content: empty, execute: false },
      { address: TEXT, size: PAGE, content: program(), execute: true },
      { address: DATA, size: DATA_SIZE, content: empty, execute: false },
    ];
    writeFileSync(executable, writeElf(segments, TEXT), { mode: 0o755 });
    const results: VectorResult[] = [];
    for (let start = 0; start < cases.length; start += BATCH) {
      const batch = cases.slice(start, start + BATCH);
      const input = Buffer.alloc(IN.size * batch.length);
      for (const [i, test] of batch.entries()) encode(test, input.subarray(i * IN.size, (i + 1) * IN.size));
      writeFileSync(join(folder, "in"), input);
      const stdin = openSync(join(folder, "in"), "r");
      const stdout = openSync(join(folder, "out"), "w");
      const { error } = spawnSync(executable, { stdio: [stdin, stdout, "inherit"] });
      closeSync(stdin);
      closeSync(stdout);
      const output = readFileSync(join(folder, "out"));
      if (error !== undefined || output.length !== OUT.size * batch.length) return undefined;
      for (const [i, test] of batch.entries()) {
        results.push(decode(test, output.subarray(i * OUT.size, (i + 1) * OUT.size)));
      }
    }
    return results;
  } finally {
    rmSync(folder, { recursive: true });
  }
}
