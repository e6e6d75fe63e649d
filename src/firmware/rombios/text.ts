/** Messages of the BIOS: a service leaves the text in memory, the stub's `print` routine shows it through INT 10h. */
import type { Call } from "./call.ts";
import { EBDA, TEXT_BYTES } from "./layout.ts";

/** Put a text into the scratch area and point DS:SI to it. */
export function writeText(call: Call, text: string): void {
  const { memory, cpu } = call.context;
  const at = call.ebda + EBDA.TEXT;
  const length = Math.min(text.length, TEXT_BYTES - 1);
  for (let i = 0; i < length; i++) memory.write8(at + i, text.charCodeAt(i) & 0xff);
  memory.write8(at + length, 0);
  cpu.loadSelector("ds", call.ebda >> 4);
  call.si = EBDA.TEXT;
}
