/** Lockstep: nothing is found where nothing is wrong; compiled code that computes wrongly is found, and shown. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { assemble } from "../../src/firmware/assembler.ts";
import { HvmDomain } from "../../src/hypervisor/hvm-domain.ts";
import type { StopReason } from "../../src/hypervisor/stop-reason.ts";
import { GPR } from "../../src/isa/state.ts";
import { DEFAULT_COMPILER } from "../../src/processor/compiler/compiler.ts";
import { TABLE_EXPORT } from "../../src/processor/interpreter/regions.ts";
import { STATE } from "../../src/processor/memory-map.ts";
import { call, type Value } from "../../src/wasm/expression.ts";
import { FunctionWriter } from "../../src/wasm/function.ts";
import { ModuleWriter } from "../../src/wasm/module.ts";

const ORIGIN = 0x7c00;
const PORT = 0xf4;
const DMA = 0x9000;

/** CLTS leaves a region: what is spoilt while one runs is then entered anew. */
const PROGRAM = `
  mov ebx, 4
round:
  mov ecx, 3000
again:
  add eax, 3
  add eax, [${DMA}]
  xor [${DMA + 8}], eax
  imul edx, eax, 77
  push edx
  pop esi
  loop again
  in al, ${PORT + 1}
  clts
  rdtsc
  dec ebx
  jnz round
  out ${PORT}, al`;

/** Run the program; `look` is called when it reads the port, once a round. */
async function run(look: (domain: HvmDomain) => void): Promise<StopReason> {
  const domain = new HvmDomain({
    memory: 1 << 20,
    clock: "instructions",
    lockstep: true,
    compiler: { ...DEFAULT_COMPILER, threshold: 20, immediate: true },
  });
  const { code } = assemble(PROGRAM, { origin: ORIGIN, bits: 32 });
  let reads = 0;
  domain.bus.claimPorts({
    name: "test",
    base: PORT,
    count: 2,
    width: 1,
    device: {
      read() {
        look(domain);
        // Written to memory in the middle of a stay, as by DMA.
        domain.memory.write32(DMA, 0x1234 * ++reads);
        return 0x40 + reads;
      },
      write: () => domain.powerOff(),
    },
  });
  domain.onReset = () => {
    domain.memory.write(ORIGIN, code);
    domain.enter({ mode: "protected", eip: ORIGIN, esp: 0x7000 });
  };
  return domain.run();
}

/** Put a function in front of every compiled region that does `harm` behind it. */
function spoil(domain: HvmDomain, harm: (f: FunctionWriter) => void): void {
  const table = domain.processor.exports[TABLE_EXPORT] as WebAssembly.Table;
  const type = { params: ["i32"], results: ["i32"] } as const;
  const module = new ModuleWriter();
  module.importMemory("env", "memory", 1, 65536);
  const region = module.importFunction("env", "region", type);
  const reference = module.declare(type, "spoilt");
  const f = new FunctionWriter(type);
  const result: Value = f.let(call(region, f.params[0]!.get));
  harm(f);
  f.result(result);
  module.define(reference, f.finish());
  const compiled = new WebAssembly.Module(module.finish());
  for (let slot = table.length - 1; slot >= 0; slot--) {
    const original = table.get(slot) as WebAssembly.ExportValue | null;
    if (!original || slot < table.length - (1 << 14)) continue;
    const { exports } = new WebAssembly.Instance(compiled, { env: { memory: domain.cpu.memory, region: original } });
    table.set(slot, exports["spoilt"]);
  }
}

test("answers of devices, memory written by them and time reach the reference: nothing differs", async () => {
  const reason = await run(() => {});
  assert.equal(reason.kind, "poweroff", reason.message);
});

test("a register that compiled code leaves wrong is found, with the code in which it went wrong", async () => {
  let looks = 0;
  const reason = await run((domain) => {
    if (++looks === 2) spoil(domain, (f) => f.store32(STATE, 4, GPR.edi));
  });
  assert.equal(reason.kind, "crash");
  assert.match(reason.message, /^lockstep: compiled code and the interpreter differ/);
  assert.match(reason.message, /^ {2}edi: compiled 4, interpreted 0$/m);
  assert.match(reason.message, /imul edx, eax, 0x4d|imul edx, eax, 77/);
  assert.match(reason.message, /^region0 \{$/m);
});

test("memory that compiled code leaves wrong is found at the end of the run at the latest", async () => {
  let looks = 0;
  const reason = await run((domain) => {
    if (++looks !== 2) return;
    const at = domain.cpu.machineOf(0x5000);
    spoil(domain, (f) => f.store32(at, 7));
  });
  assert.equal(reason.kind, "crash");
  assert.match(reason.message, /^ {2}memory at 5000: compiled 7, interpreted 0$/m);
});
