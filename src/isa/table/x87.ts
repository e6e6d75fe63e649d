/** x87 rows; their arithmetic stands in `isa/x87`. */
import type { Row } from "../row.ts";

export const X87: readonly Row[] = [];
