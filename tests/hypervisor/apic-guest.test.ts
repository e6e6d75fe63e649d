/** The APIC as guest code meets it: interrupts right behind the access that raised them, exact time, MSRs, CPUID, NMI. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { assemble } from "../../src/firmware/assembler.ts";
import type { CpuModelName } from "../../src/hypervisor/cpuid.ts";
import { HvmDomain } from "../../src/hypervisor/hvm-domain.ts";
import { DEFAULT_COMPILER } from "../../src/processor/compiler/compiler.ts";

const ORIGIN = 0x8000;
const IDT = 0x6000;
/** EBX = the APIC, enabled by software; gates for vectors 0–63 lead to `handler` + 16 × vector. */
const PROLOGUE = `
  xor ecx, ecx
  xor edx, edx
  mov ebx, 0xfee00000
  mov dword [ebx + 0xf0], 0x1ff
  lidt [idtr]
  sti`;

interface Options {
  readonly lockstep?: boolean;
  readonly cpuModel?: CpuModelName;
  readonly compiled?: boolean;
}

/** Runs flat code until it writes to port F4h; bytes to F5h are returned. Handlers by vector. */
async function run(
  text: string,
  handlers: Readonly<Record<number, string>> = {},
  options: Options = {},
): Promise<{ domain: HvmDomain; values: number[] }> {
  const domain = new HvmDomain({
    memory: 1 << 20,
    clock: "instructions",
    apic: true,
    lockstep: options.lockstep ?? false,
    cpuModel: options.cpuModel ?? "max",
    ...(options.compiled && { compiler: { ...DEFAULT_COMPILER, threshold: 1, immediate: true } }),
  });
  const code = Object.entries(handlers)
    .map(([vector, body]) => `org ${0xc000 + Number(vector) * 64}\n${body}\niretd`)
    .join("\n");
  const program = assemble(`${text}\nout 0xf4, al\nhlt\nidtr: dw 0x1ff\ndd ${IDT}\n${code}`, {
    origin: ORIGIN,
    bits: 32,
  });
  const values: number[] = [];
  domain.bus.claimPorts({
    name: "off",
    base: 0xf4,
    count: 8,
    device: {
      read: () => 0,
      write(offset, _size, value) {
        if (offset === 0) domain.powerOff();
        else values.push(value);
      },
    },
  });
  domain.setInterruptController({ line: () => ({ set() {} }), pending: false, acknowledge: () => 7 });
  domain.onReset = () => {
    domain.memory.write(ORIGIN, program.code);
    for (let vector = 0; vector < 64; vector++) {
      const at = 0xc000 + vector * 64;
      domain.memory.write32(IDT + vector * 8, (at & 0xffff) | (0x10 << 16));
      domain.memory.write32(IDT + vector * 8 + 4, 0x8e00);
    }
    const gdt = 0x5000;
    for (const [i, high] of [0, 0, 0x00cf9b00, 0x00cf9300].entries()) {
      domain.memory.write32(gdt + i * 8, high === 0 ? 0 : 0xffff);
      domain.memory.write32(gdt + i * 8 + 4, high);
    }
    domain.enter({ mode: "protected", eip: ORIGIN, esp: 0x7000, gdt: { base: gdt, limit: 31 } });
  };
  const { kind, message } = await domain.run();
  assert.equal(kind, "poweroff", message);
  return { domain, values };
}

const EOI = "mov dword [ebx + 0xb0], 0";

for (const [engine, options] of [
  ["interpreted", {}],
  ["compiled", { compiled: true }],
  ["in lockstep", { lockstep: true }],
] as const) {
  test(`an interrupt to itself comes right behind the command, ${engine}`, async () => {
    const { values } = await run(
      `${PROLOGUE}
      xor ecx, ecx
      again: mov dword [ebx + 0x300], 0x40031
      mov al, ch
      inc ecx
      cmp ecx, 200
      jb again
      mov eax, edx
      out 0xf5, al`,
      { 49: `inc edx\ncmp edx, ecx\njbe wrong\n${EOI}\niretd\nwrong: out 0xf4, al` },
      options,
    );
    assert.deepEqual(values, [200]);
  });

  test(`the timer's count is exact, and its interrupt comes when it is zero, ${engine}`, async () => {
    const { values, domain } = await run(
      `${PROLOGUE}
      mov dword [ebx + 0x3e0], 0xb
      mov dword [ebx + 0x320], 0x31
      mov dword [ebx + 0x380], 5000
      mov esi, [ebx + 0x390]
      mov edi, [ebx + 0x390]
      again: inc ecx
      test edx, edx
      jz again
      sub esi, edi
      mov eax, esi
      out 0xf5, al
      mov eax, ecx
      out 0xf6, ax`,
      { 49: `inc edx\n${EOI}` },
      options,
    );
    // One count is 10 ns, an instruction too. The last turn of the loop is a whole one.
    assert.equal(values[0], 1);
    assert.ok(Math.abs(values[1]! * 3 + 2 - 5000) <= 3, `${values[1]}`);
    assert.ok(domain.clock.now() < 51_000);
  });
}

test("end of interrupt lets a lower one in, right behind it", async () => {
  const { values } = await run(
    `${PROLOGUE}
    mov dword [ebx + 0x300], 0x40039
    mov al, 9
    out 0xf5, al`,
    {
      57: `mov dword [ebx + 0x300], 0x40021\nmov al, 1\nout 0xf5, al\nsti\nnop\nnop\nmov al, 2\nout 0xf5, al\n${EOI}\nmov al, 4\nout 0xf5, al`,
      33: `mov al, 3\nout 0xf5, al\n${EOI}`,
    },
  );
  assert.deepEqual(values, [1, 2, 3, 4, 9]);
});

test("a task priority that is lowered lets in what waited", async () => {
  const { values } = await run(
    `${PROLOGUE}
    mov dword [ebx + 0x80], 0x30
    mov dword [ebx + 0x300], 0x40021
    mov al, 1
    out 0xf5, al
    mov dword [ebx + 0x80], 0
    mov al, 3
    out 0xf5, al`,
    { 33: `mov al, 2\nout 0xf5, al\n${EOI}` },
  );
  assert.deepEqual(values, [1, 2, 3]);
});

test("the timer waits for a time-stamp, which is exact", async () => {
  const { values } = await run(
    `${PROLOGUE}
    mov dword [ebx + 0x320], 0x40031
    rdtsc
    add eax, 20000
    adc edx, 0
    mov esi, eax
    mov ecx, 0x6e0
    wrmsr
    xor ebp, ebp
    again: test ebp, ebp
    jz again
    mov eax, edi
    sub eax, esi
    out 0xf5, ax
    rdmsr
    out 0xf6, eax`,
    { 49: `inc ebp\nrdtsc\nmov edi, eax\n${EOI}` },
  );
  assert.ok(values[0]! < 50, `${values[0]} ns late`);
  assert.equal(values[1], 0);
});

test("NMI comes with interrupts off, once at a time, and another when its handler returns", async () => {
  const { values } = await run(
    `${PROLOGUE}
    cli
    mov dword [ebx + 0x300], 0x40400
    mov al, 9
    out 0xf5, al`,
    {
      2: `inc edx
      cmp edx, 2
      je second
      mov dword [ebx + 0x300], 0x40400
      mov al, 1
      out 0xf5, al
      mov ecx, 1000
      wait: loop wait
      mov al, 2
      out 0xf5, al
      iretd
      second: mov al, 3
      out 0xf5, al`,
    },
  );
  assert.deepEqual(values.toSorted(), [1, 2, 3, 9]);
  assert.deepEqual(values.slice(0, 2), [1, 2]);
});

test("the registers move over RAM and away; without the APIC its CPUID bit is clear", async () => {
  const { values } = await run(
    `mov dword [0x90030], 0x77777777
    mov ecx, 0x1b
    rdmsr
    out 0xf5, ax
    mov eax, 0x90900
    wrmsr
    mov eax, [0x90030]
    out 0xf6, eax
    mov eax, 1
    cpuid
    shr edx, 9
    mov eax, edx
    and eax, 1
    out 0xf5, al
    mov ecx, 0x1b
    xor edx, edx
    mov eax, 0xfee00100
    wrmsr
    mov eax, [0x90030]
    out 0xf6, eax
    mov eax, 1
    cpuid
    shr edx, 9
    mov eax, edx
    and eax, 1
    out 0xf5, al`,
  );
  assert.deepEqual(values, [0x0900, 0x50014, 1, 0x77777777, 0]);
});

test("reserved bits of the base fault; models have what they had", async () => {
  const fault = { 13: "add esp, 4\nmov al, 0xee\nout 0xf5, al\nadd dword [esp], 2" };
  const wrmsr = (msr: number, low: number, high = 0): string =>
    `mov ecx, ${msr}\nmov eax, ${low}\nmov edx, ${high}\nwrmsr\nmov al, 1\nout 0xf5, al`;
  const lidt = "lidt [idtr]\n";
  assert.deepEqual((await run(lidt + wrmsr(0x1b, 0xfee00901), fault)).values, [0xee, 1]);
  assert.deepEqual((await run(lidt + wrmsr(0x1b, 0xfee00900, 1), fault)).values, [0xee, 1]);
  assert.deepEqual((await run(lidt + wrmsr(0x6e0, 1), fault, { cpuModel: "nehalem" })).values, [0xee, 1]);
  assert.deepEqual((await run(lidt + wrmsr(0x1b, 0xfee00900), fault, { cpuModel: "pentium" })).values, [0xee, 1]);
  const there = "mov eax, [0xfee00030]\nout 0xf6, eax";
  assert.deepEqual((await run(there, {}, { cpuModel: "pentium" })).values, [0x50014]);
  assert.deepEqual((await run(there, {}, { cpuModel: "486" })).values, [0xffffffff]);
});
