/** INT 10h AX=4F04h: save and restore of the adapter with the registers of the display interface. The layout is ours. */
import type { ServiceContext } from "../service.ts";
import { bx, cx, dl, esAddress, setWord } from "./registers.ts";
import { restoreParts, STATE_PARTS, saveParts, stateBlocks } from "./save-state.ts";
import { DISPI, ENABLE, readDispi, writeDispi } from "./vbe-modes.ts";

/** Bit of CX for the registers of the display interface; the others are those of AH=1Ch. */
const DISPI_PART = 8;
const ALL_PARTS = 0x0f;
const ACTION = { SIZE: 0, SAVE: 1, RESTORE: 2 } as const;
const BLOCK = 64;
/** Registers in the order in which they must be restored: the mode is enabled before its bank, width and offsets are set. */
const REGISTERS = [
  DISPI.WIDTH,
  DISPI.HEIGHT,
  DISPI.BITS,
  DISPI.ENABLE,
  DISPI.BANK,
  DISPI.VIRTUAL_WIDTH,
  DISPI.X_OFFSET,
  DISPI.Y_OFFSET,
] as const;

/** DL=0 size in 64-byte blocks in BX, 1 save at ES:BX, 2 restore; CX names the parts. */
export function vbeState(context: ServiceContext): boolean {
  const { cpu, io, memory } = context;
  const parts = cx(cpu) & ALL_PARTS;
  const vga = parts & STATE_PARTS;
  const dispi = (parts & DISPI_PART) !== 0;
  if (parts === 0) return false;
  const vgaBlocks = stateBlocks(vga);
  const address = esAddress(cpu, bx(cpu));
  const own = address + vgaBlocks * BLOCK;
  switch (dl(cpu)) {
    case ACTION.SIZE:
      setWord(cpu, "ebx", vgaBlocks + (dispi ? 1 : 0));
      return true;
    case ACTION.SAVE:
      saveParts(context, vga, address);
      if (dispi)
        REGISTERS.forEach((register, i) => {
          memory.write16(own + i * 2, readDispi(io, register));
        });
      return true;
    case ACTION.RESTORE:
      if (dispi) {
        // Disabled first: what the mode shows is the program's business.
        writeDispi(io, DISPI.ENABLE, 0);
        REGISTERS.forEach((register, i) => {
          const value = memory.read16(own + i * 2);
          writeDispi(io, register, register === DISPI.ENABLE ? value | ENABLE.NO_CLEAR : value);
        });
      }
      restoreParts(context, vga, address);
      return true;
    default:
      return false;
  }
}
