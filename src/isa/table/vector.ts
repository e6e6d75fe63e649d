/** Vector rows of the instruction table: MMX, SSE to SSE4.2, and what came with them. SDM 1 chapters 9–12. */
import type { Row } from "../row.ts";
import { VECTOR_MOVES } from "./vector/moves.ts";

export const VECTOR: readonly Row[] = [...VECTOR_MOVES];
