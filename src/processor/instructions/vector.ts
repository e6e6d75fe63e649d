/** Vector instructions in TypeScript, and the faults of those that may not run now. SDM 3A 12.5, 13.1. */
import { VECTOR_GATE } from "../../isa/state.ts";
import { CR0, CR4, VECTOR } from "../registers.ts";
import type { Helper } from "./operands.ts";
import { pendingError } from "./x87.ts";

/** #UD, #NM or #MF: `kind` is one of VECTOR_GATE. */
const vectorUnavailable: Helper = (cpu, pc, kind) => {
  const cr0 = cpu.get("cr0");
  if (cr0 & CR0.EM) throw cpu.fault(VECTOR.UD);
  if (kind === VECTOR_GATE.sse && !(cpu.get("cr4") & CR4.OSFXSR)) throw cpu.fault(VECTOR.UD);
  if (cr0 & CR0.TS) throw cpu.fault(VECTOR.NM);
  return pendingError(cpu, pc, 0);
};

export const VECTOR_HELPERS: Record<string, Helper> = { vectorUnavailable };
