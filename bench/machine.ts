/** A bare processor with 16 MB of RAM in flat 32-bit protected mode, for micro-benchmarks. */
import { setImmediate } from "node:timers/promises";
import type { CompilerOptions } from "../src/processor/compiler/compiler.ts";
import { P2M_TYPE } from "../src/processor/cpu.ts";
import { EXIT, PROC, PROC2 } from "../src/processor/exits.ts";
import { MACHINE } from "../src/processor/memory-map.ts";
import { Processor } from "../src/processor/processor.ts";
import { CR0 } from "../src/processor/registers.ts";

const RAM = 16 << 20;

/** A new machine; paging is off. Without `compiler` code is interpreted. */
export function createMachine(compiler?: CompilerOptions): Processor {
  const processor = new Processor({
    machineBytes: RAM,
    bus: { mmioRead: () => 0xff, mmioWrite() {} },
    signature: 0,
    has: () => true,
    ...(compiler && { compiler }),
  });
  const { cpu } = processor;
  for (let frame = 0; frame < RAM >> 12; frame++) cpu.setP2m(frame, MACHINE + frame * 4096, P2M_TYPE.ram);
  cpu.set("procControls", PROC.hlt | PROC.unconditionalIo | PROC.secondary);
  cpu.set("procControls2", PROC2.unrestrictedGuest);
  cpu.set("cr0", CR0.PE | CR0.ET | CR0.NE);
  for (let segment = 0; segment < 6; segment++)
    cpu.setSegment(segment, segment === 1 ? 8 : 16, 0, 0xffffffff, segment === 1 ? 0xc09b : 0xc093);
  cpu.updateMode();
  return processor;
}

/** Budget of one stay in the guest, instructions: between two of them compiled code is taken in. */
const SLICE = 1 << 20;

/** Run `processor` from `eip` with this stack and data pointer until it halts; µs of this process's CPU time. */
export async function timeToHalt(
  processor: Processor,
  start: { readonly eip: number; readonly esp: number; readonly esi: number },
): Promise<number> {
  const { cpu } = processor;
  cpu.set("eip", start.eip);
  cpu.setGpr(4, start.esp);
  cpu.setGpr(6, start.esi);
  const before = process.cpuUsage().user;
  let reason: number;
  do {
    cpu.set("preemptionTimer", SLICE);
    reason = processor.run();
    processor.compiler?.poll();
    await setImmediate();
  } while (reason === EXIT.preemptionTimer);
  if (reason !== EXIT.hlt) throw new Error(`benchmark stopped by exit ${reason}`);
  return process.cpuUsage().user - before;
}
