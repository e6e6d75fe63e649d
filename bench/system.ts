/** Micro-benchmarks of kernel entry, faults, segment loads, strings and device accesses: nanoseconds of host time each. */
import { assemble } from "../src/firmware/assembler.ts";
import { HvmDomain } from "../src/hypervisor/hvm-domain.ts";

const RAM = 16 << 20;
const GDT = 0x1000;
const IDT = 0x2000;
const TSS = 0x3000;
const DIRECTORY = 0x4000;
const STACK0 = 0x9000;
const STACK3 = 0xa000;
const CODE = 0x20000;
const DATA = 0x100000;
/** Nothing is mapped here. */
const HOLE = 0x800000;
const MMIO = 0xb8000;

const SELECTOR = { code0: 0x08, data0: 0x10, code3: 0x1b, data3: 0x23, tss: 0x28 } as const;
const GDT_ENTRIES: readonly (readonly [number, number])[] = [
  [0, 0],
  [0xffff, 0xcf9b00],
  [0xffff, 0xcf9300],
  [0xffff, 0xcffb00],
  [0xffff, 0xcff300],
  [(TSS << 16) | 0x67, 0x8900],
];
const PORT = { mark: 0x500, idle: 0x510 } as const;
const PAGE_4M = 0x87;
const SYSTEM_CALL = 0x80;
const INVALID_OPCODE = 6;
const PAGE_FAULT = 14;
/** MSRs of SYSENTER from this one on: CS, ESP, EIP. */
const SYSENTER_CS = 0x174;

/** A loop that runs `count` times in EBX, in ring 3 if `user`. */
interface Row {
  readonly name: string;
  readonly body: string;
  readonly count: number;
  readonly user?: boolean;
}

const ROWS: readonly Row[] = [
  { name: "int", body: "int 0x80", count: 4e5, user: true },
  { name: "int-inside", body: "int 0x80", count: 4e5 },
  { name: "sysenter", body: "mov ecx, esp\nmov edx, back\nsysenter\nback:", count: 4e5, user: true },
  { name: "segload", body: "mov ax, ds\nmov es, ax\npush ds\npop es", count: 4e5, user: true },
  { name: "cli-sti", body: "cli\nsti\nnop", count: 4e5 },
  { name: "pushf-popf", body: "pushfd\npopfd", count: 1e6 },
  { name: "fault", body: "ud2", count: 3e5, user: true },
  { name: "page-fault", body: `mov al, [${HOLE}]`, count: 2e5, user: true },
  { name: "in", body: `mov edx, ${PORT.idle}\nin al, dx`, count: 4e5 },
  { name: "out", body: `mov edx, ${PORT.idle}\nout dx, al`, count: 4e5 },
  { name: "mmio", body: `mov [${MMIO}], ax`, count: 4e5 },
  { name: "cpuid", body: "push ebx\nxor eax, eax\ncpuid\npop ebx", count: 1e5 },
  { name: "rdtsc", body: "rdtsc", count: 4e5 },
  { name: "rep-short", body: `mov esi, ${DATA}\nmov edi, ${DATA + 0x1000}\nmov ecx, 4\nrep movsd`, count: 4e5 },
  { name: "rep-long", body: `mov esi, ${DATA}\nmov edi, ${DATA + 0x20000}\nmov ecx, 16384\nrep movsd`, count: 5e3 },
  { name: "rep-fill", body: `mov edi, ${DATA}\nmov ecx, 4096\nrep stosd`, count: 2e4 },
  { name: "rep-scan", body: `mov edi, ${DATA}\nmov ecx, 4096\nmov al, 1\nrepne scasb`, count: 2e4 },
];

/** Code: descriptor tables, handlers, then the loop twice between marks, the first time to warm up. */
function program(row: Row): string {
  const loop = `
    mov ebx, ${row.count}
  again:
    ${row.body}
    dec ebx
    jnz near again
    mov edx, ${PORT.mark}
    out dx, al
    mov ebx, ${row.count}
    jmp near again`;
  const start = row.user
    ? `push ${SELECTOR.data3}\npush ${STACK3}\npush 0x3202\npush ${SELECTOR.code3}\npush begin\niretd`
    : "jmp near begin";
  const msr = (index: number, value: number | string): string =>
    `mov ecx, ${SYSENTER_CS + index}\nmov eax, ${value}\nxor edx, edx\nwrmsr`;
  return `
    lidt [idtr]
    mov eax, ${DIRECTORY}
    mov cr3, eax
    mov eax, 0x10
    mov cr4, eax
    mov eax, cr0
    or eax, 0x80000000
    mov cr0, eax
    mov eax, ${SELECTOR.tss}
    ltr ax
    ${msr(0, SELECTOR.code0)}
    ${msr(1, STACK0)}
    ${msr(2, "entered")}
    mov eax, ${SELECTOR.data3}
    mov ds, ax
    mov es, ax
    ${start}
  called:
    iretd
  entered:
    sti
    sysexit
  undefined:
    add dword [esp], 2
    iretd
  missing:
    add esp, 4
    add dword [esp], 5
    iretd
  idtr:
    dw 0x7ff
    dd ${IDT}
  begin: ${loop}`;
}

/** Nanoseconds for one turn of the loop, after as many to warm up. */
async function measure(row: Row): Promise<number> {
  const domain = new HvmDomain({ memory: RAM, clock: "instructions" });
  const { memory } = domain;
  const { code, labels } = assemble(program(row), { origin: CODE, bits: 32 });
  const gate = (vector: number, label: string, dpl: number): void => {
    const offset = labels.get(label) ?? 0;
    memory.write32(IDT + vector * 8, (SELECTOR.code0 << 16) | (offset & 0xffff));
    memory.write32(IDT + vector * 8 + 4, (offset & 0xffff0000) | 0x8f00 | (dpl << 13));
  };
  const times: number[] = [];
  const idle = { read: () => 0, write() {} };
  const mark = {
    read: () => 0,
    write: () => {
      if (times.push(performance.now()) === 3) domain.destroy();
    },
  };
  domain.bus.claimPorts({ name: "mark", base: PORT.mark, count: 1, device: mark });
  domain.bus.claimPorts({ name: "idle", base: PORT.idle, count: 1, device: idle });
  domain.bus.claimMmio({ name: "text", base: MMIO, size: 0x1000, device: idle });
  domain.onReset = () => {
    memory.write(CODE, code);
    for (const [i, [low, high]] of GDT_ENTRIES.entries()) {
      memory.write32(GDT + i * 8, low);
      memory.write32(GDT + i * 8 + 4, high);
    }
    memory.write32(TSS + 4, STACK0);
    memory.write32(TSS + 8, SELECTOR.data0);
    for (const region of [0, 1]) memory.write32(DIRECTORY + region * 4, (region << 22) | PAGE_4M);
    gate(SYSTEM_CALL, "called", 3);
    gate(INVALID_OPCODE, "undefined", 0);
    gate(PAGE_FAULT, "missing", 0);
  };
  domain.initialState = {
    mode: "protected",
    eip: CODE,
    esp: STACK0,
    codeSelector: SELECTOR.code0,
    dataSelector: SELECTOR.data0,
    gdt: { base: GDT, limit: GDT_ENTRIES.length * 8 - 1 },
  };
  const reason = await domain.run();
  const [, warm, end] = times;
  if (warm === undefined || end === undefined) throw new Error(`${row.name}: ${reason.kind}: ${reason.message}`);
  return ((end - warm) * 1e6) / row.count;
}

/** All rows by name: ns for one turn of the loop. */
export async function runSystemBench(report: (name: string, ns: number) => void): Promise<void> {
  for (const row of ROWS) report(row.name, await measure(row));
}
