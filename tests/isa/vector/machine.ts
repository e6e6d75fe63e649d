/** Runs vector cases on our processor, in flat 32-bit protected mode, where every exception leaves the guest. */
import { FXSAVE_BYTES, loadExtendedState, storeExtendedState } from "../../../src/isa/x87/environment.ts";
import { EXIT } from "../../../src/processor/exits.ts";
import { MACHINE, STATE } from "../../../src/processor/memory-map.ts";
import { CR0, CR4 } from "../../../src/processor/registers.ts";
import { createMachine } from "../../support/machine.ts";
import { CODE_BYTES, PLACE, type VectorCase, WINDOW_BYTES } from "./cases.ts";
import type { VectorResult } from "./silicon.ts";

const INT3 = 0xcc;
/** More instructions than a case has. */
const BUDGET = 4;
const XMM = { xmmRegisters: 8 } as const;

export class VectorMachine {
  readonly #machine = createMachine();

  constructor() {
    const { processor } = this.#machine;
    this.#machine.mode("protected32");
    processor.cpu.set("cr0", CR0.PE | CR0.MP | CR0.ET | CR0.NE);
    processor.cpu.set("cr4", CR4.OSFXSR | CR4.OSXMMEXCPT);
  }

  run(test: VectorCase): VectorResult {
    const { processor, memory } = this.#machine;
    const { cpu } = processor;
    memory.fill(INT3, PLACE.code, PLACE.code + CODE_BYTES);
    memory.set(test.code, PLACE.code);
    cpu.onCodeWrite(MACHINE + PLACE.code, CODE_BYTES);
    memory.set(test.window, PLACE.window);
    for (let i = 0; i < 8; i++) cpu.setGpr(i, test.registers[i]!);
    cpu.setEflags(test.eflags);
    loadExtendedState(cpu.view, STATE, test.image, XMM);
    cpu.set("eip", PLACE.code);
    cpu.set("preemptionTimer", BUDGET);
    const reason = processor.run();
    if (reason !== EXIT.exceptionOrNmi) throw new Error(`exit ${reason & 0xffff} of ${test.name}`);
    const image = new Uint8Array(FXSAVE_BYTES);
    storeExtendedState(cpu.view, STATE, image, XMM);
    return {
      vector: cpu.get("exitInterruptionInfo") & 0xff,
      registers: Uint32Array.from({ length: 8 }, (_, i) => cpu.gpr(i)),
      eflags: cpu.eflags(),
      image,
      window: memory.slice(PLACE.window, PLACE.window + WINDOW_BYTES),
    };
  }
}
