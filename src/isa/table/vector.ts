/** Vector rows of the instruction table: MMX, SSE to SSE4.2, and what came with them. SDM 1 chapters 9–12. */
import type { Row } from "../row.ts";
import { VECTOR_CONTROL } from "./vector/control.ts";
import { VECTOR_CONVERT } from "./vector/convert.ts";
import { VECTOR_FLOAT } from "./vector/float.ts";
import { VECTOR_INTEGER } from "./vector/integer.ts";
import { VECTOR_MOVES } from "./vector/moves.ts";
import { VECTOR_SHUFFLE } from "./vector/shuffle.ts";

export const VECTOR: readonly Row[] = [
  ...VECTOR_MOVES,
  ...VECTOR_FLOAT,
  ...VECTOR_CONVERT,
  ...VECTOR_INTEGER,
  ...VECTOR_SHUFFLE,
  ...VECTOR_CONTROL,
];
