/** A bare processor with 16 MB of RAM in flat 32-bit protected mode, for micro-benchmarks. */
import type { CompilerOptions } from "../src/processor/compiler/compiler.ts";
import { P2M_TYPE } from "../src/processor/cpu.ts";
import { PROC, PROC2 } from "../src/processor/exits.ts";
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
