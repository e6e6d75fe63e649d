/** Micro-benchmarks of the paging unit: each row a loop of one event, in ns for each. */
import { assemble } from "../src/firmware/assembler.ts";
import { SEG } from "../src/isa/state.ts";
import { EXIT } from "../src/processor/exits.ts";
import { MACHINE } from "../src/processor/memory-map.ts";
import type { Processor } from "../src/processor/processor.ts";
import { CR0 } from "../src/processor/registers.ts";
import { createMachine } from "./machine.ts";

const CODE = 0x1000;
const STACK = 0x80000;
const IDT = 0x2000;
const GDT = 0x2800;
const HANDLER = 0x3000;
/** Two page directories that map the same: linear 0–16 MiB to itself, and nothing above. */
const DIRECTORIES = [0x100000, 0x110000] as const;
const DATA = 0x400000;
const MAPPED = 0x1000000;
const PAGE = 4096;
const PRESENT_WRITABLE = 3;
const PAGE_FAULT_VECTOR = 14;
const INTERRUPT_GATE32 = 0x8e00;

/** `code` runs `events` of what the row is about; `before` is what the host does ahead of each run. */
interface Row {
  readonly name: string;
  readonly code: string;
  readonly events: number;
  readonly before?: (processor: Processor) => void;
}

const FILLED_PAGES = 2048;
const SWITCHED_PAGES = 64;

/** Read one word of each of `pages` pages. */
const touch = (label: string, pages: number): string =>
  `mov esi, ${DATA}\n${label}: mov eax, [esi]\nadd esi, ${PAGE}\ncmp esi, ${DATA + pages * PAGE}\njnz short ${label}`;

const ROWS: readonly Row[] = [
  {
    name: "fill",
    code: touch("next", FILLED_PAGES),
    events: FILLED_PAGES,
    before: ({ cpu }) => cpu.flushAll(),
  },
  {
    name: "cr3",
    code: `mov ecx, 1000\nagain:\n${DIRECTORIES.map(
      (directory, i) => `mov eax, ${directory}\nmov cr3, eax\n${touch(`next${i}`, SWITCHED_PAGES)}`,
    ).join("\n")}\ndec ecx\njnz near again`,
    events: 2000,
  },
  {
    name: "pagefault",
    code: `mov ecx, 10000\nagain: mov eax, [${MAPPED}]\ndec ecx\njnz short again`,
    events: 10000,
  },
];
/** Length of the instruction that faults in row `pagefault`, which the handler steps over. */
const FAULTING_LENGTH = 5;

function pagingMachine(): Processor {
  const processor = createMachine();
  const { cpu } = processor;
  const put = (address: number, value: number): void => cpu.view.setUint32(MACHINE + address, value, true);
  for (const directory of DIRECTORIES) {
    for (let table = 0; table < MAPPED >> 22; table++) {
      const at = directory + (table + 1) * PAGE;
      put(directory + table * 4, at | PRESENT_WRITABLE);
      for (let i = 0; i < 1024; i++) put(at + i * 4, ((table << 22) + (i << 12)) | PRESENT_WRITABLE);
    }
  }
  put(GDT + 8, 0x0000ffff);
  put(GDT + 12, 0x00cf9b00);
  put(IDT + PAGE_FAULT_VECTOR * 8, (8 << 16) | HANDLER);
  put(IDT + PAGE_FAULT_VECTOR * 8 + 4, INTERRUPT_GATE32);
  cpu.set("gdtrBase", GDT);
  cpu.set("gdtrLimit", 0xff);
  cpu.set("idtrBase", IDT);
  cpu.set("idtrLimit", 0x7ff);
  const handler = `add esp, 4\nadd dword [esp], ${FAULTING_LENGTH}\niretd`;
  cpu.u8.set(assemble(handler, { origin: HANDLER, bits: 32 }).code, MACHINE + HANDLER);
  cpu.set("cr3", DIRECTORIES[0]);
  cpu.set("cr0", cpu.get("cr0") | CR0.PG | CR0.WP);
  cpu.setSegment(SEG.CS, 8, 0, 0xffffffff, 0xc09b);
  cpu.flushAll();
  cpu.updateMode();
  return processor;
}

const REPETITIONS = 200;
const ROUNDS = 6;

function measure(row: Row): number {
  const processor = pagingMachine();
  const { cpu } = processor;
  const { code } = assemble(`${row.code}\nhlt`, { origin: CODE, bits: 32 });
  cpu.u8.set(code, MACHINE + CODE);
  let best = Number.POSITIVE_INFINITY;
  for (let round = 0; round < ROUNDS; round++) {
    const start = process.cpuUsage().user;
    for (let i = 0; i < REPETITIONS; i++) {
      row.before?.(processor);
      cpu.set("eip", CODE);
      cpu.setGpr(4, STACK);
      cpu.set("preemptionTimer", 1 << 28);
      const reason = processor.run();
      if (reason !== EXIT.hlt) throw new Error(`${row.name}: stopped by exit ${reason}`);
    }
    best = Math.min(best, process.cpuUsage().user - start);
  }
  return (best * 1000) / (row.events * REPETITIONS);
}

/** All rows by name: ns for an event. */
export function runPagingBench(report: (name: string, ns: number) => void): void {
  for (const row of ROWS) report(row.name, measure(row));
}
