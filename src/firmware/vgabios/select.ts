/** Adapter configuration: INT 10h AH=12h ("alternate select"). */

import type { ServiceContext } from "../service.ts";
import { PORT, readIndexed, SEQ, writeIndexed } from "./adapter.ts";
import { SUPPORTED } from "./info.ts";
import { BDA, CONTROL, VGA_FLAGS } from "./layout.ts";
import { al, bl, setLow, setWord } from "./registers.ts";

const MEMORY_256K = 3;
const MISC_ENABLE_RAM = 0x02;
const SCREEN_OFF = 0x20;
/** Switch settings of a colour display: 80 columns on a CGA, and enhanced. */
const SWITCHES = { CGA: 0x08, EGA: 0x09 } as const;

/** INT 10h AH=12h. Services that exist answer 12h in AL. */
export function alternateSelect(context: ServiceContext): void {
  const { cpu, io, memory } = context;
  const request = al(cpu);
  switch (bl(cpu)) {
    case 0x10: {
      const switches = memory.read8(BDA.SWITCHES);
      setWord(cpu, "ebx", ((memory.read16(BDA.CRTC_PORT) === PORT.CRTC_MONO ? 1 : 0) << 8) | MEMORY_256K);
      setWord(cpu, "ecx", ((switches >> 4) << 8) | (switches & 0x0f));
      return;
    }
    case 0x20:
      // Print screen as the system BIOS has it copes with any number of rows.
      return;
    case 0x30:
      if (request > 2) return;
      selectScanLines(context, request);
      break;
    case 0x31:
      setFlag(context, BDA.VGA_FLAGS, VGA_FLAGS.NO_PALETTE_LOADING, request !== 0);
      break;
    case 0x32: {
      const misc = io.in(PORT.MISC_READ, 1);
      io.out(PORT.MISC_WRITE, 1, request === 0 ? misc | MISC_ENABLE_RAM : misc & ~MISC_ENABLE_RAM);
      break;
    }
    case 0x33:
      setFlag(context, BDA.VGA_FLAGS, VGA_FLAGS.GRAY_SUMMING, request === 0);
      break;
    case 0x34:
      setFlag(context, BDA.CONTROL, CONTROL.NO_CURSOR_EMULATION, request !== 0);
      break;
    case 0x35:
      // There is one adapter: nothing to switch to.
      break;
    case 0x36: {
      const clocking = readIndexed(io, PORT.SEQUENCER, SEQ.CLOCKING_MODE);
      const value = request === 0 ? clocking & ~SCREEN_OFF : clocking | SCREEN_OFF;
      writeIndexed(io, PORT.SEQUENCER, SEQ.CLOCKING_MODE, value);
      break;
    }
    default:
      return;
  }
  setLow(cpu, "eax", SUPPORTED.ALTERNATE_SELECT);
}

function setFlag(context: ServiceContext, address: number, flag: number, on: boolean): void {
  const value = context.memory.read8(address);
  context.memory.write8(address, on ? value | flag : value & ~flag);
}

/** BL=30h: 200, 350 or 400 lines in text modes from the next mode set on. */
function selectScanLines(context: ServiceContext, choice: number): void {
  const { memory } = context;
  const flags = memory.read8(BDA.VGA_FLAGS) & ~(VGA_FLAGS.LINES_200 | VGA_FLAGS.LINES_400);
  memory.write8(
    BDA.VGA_FLAGS,
    flags | (choice === 0 ? VGA_FLAGS.LINES_200 : 0) | (choice === 2 ? VGA_FLAGS.LINES_400 : 0),
  );
  const switches = memory.read8(BDA.SWITCHES) & 0xf0;
  memory.write8(BDA.SWITCHES, switches | (choice === 0 ? SWITCHES.CGA : SWITCHES.EGA));
}
