/** What surrounds the instructions of a region while it is compiled: shared by the builder and its parts. */
import type { I32, Value } from "../../wasm/expression.ts";
import type { FunctionWriter, Local } from "../../wasm/function.ts";
import type { FlagState } from "./flag-state.ts";
import type { RegionModule } from "./region-module.ts";
import type { VectorLocal } from "./region-vectors.ts";

/** What surrounds the instructions of a region. */
export interface RegionContext {
  readonly f: FunctionWriter;
  readonly module: RegionModule;
  readonly flags: FlagState;
  /** Locals of the general registers. */
  readonly registers: readonly Local[];
  /** XMM registers that the region names; the others stand in the state page. */
  readonly vectors: ReadonlyMap<number, VectorLocal>;
  /** Linear address of the region's origin. */
  readonly base: Value;
  /** What holds PLAIN_TEST. */
  readonly plainTest: Value;
  /** Addresses of the shadow tables of the region's privilege. */
  readonly readTable: number;
  readonly writeTable: number;
  /** Leave before the current instruction, for a fault if one is noted, else for the interpreter. */
  leave(): void;
  leaveIf(condition: I32): void;
  /** The two halves of `leaveIf`: note where the current instruction stands, which may be done early, and leave. */
  note(): void;
  leaveNotedIf(condition: I32): void;
}
