/** The monitor: power states (INT 10h AX=4F10h, VBE/PM 1.0) and its identification (AX=4F15h, VBE/DDC 1.1). */
import type { ServiceContext } from "../service.ts";
import { PORT, readIndexed, SEQ, writeIndexed } from "./adapter.ts";
import { registersAddress } from "./frame-buffer.ts";
import { bh, bl, cx, dx, esAddress, setHigh, setWord } from "./registers.ts";

/** Version 1.0 in BL, and in BH the states that there are: stand-by, suspend, off. */
const POWER_CAPABILITIES = 0x0710;
const POWER = { ON: 0, STAND_BY: 1, SUSPEND: 2, OFF: 4 } as const;
const SCREEN_OFF = 0x20;

/** Transfer takes no time worth telling in BH; DDC 2 in BL. */
const DDC_CAPABILITIES = 0x0102;
const EDID_BLOCK = 128;
/** First bytes of an identification. */
const EDID_HEADER = 0xffffff00;
const EXTENSIONS = 126;

/** AX=4F10h. */
export function powerManagement(context: ServiceContext): boolean {
  const { cpu, io } = context;
  const clocking = readIndexed(io, PORT.SEQUENCER, SEQ.CLOCKING_MODE);
  switch (bl(cpu)) {
    case 0:
      setWord(cpu, "ebx", POWER_CAPABILITIES);
      return true;
    case 1: {
      const state = bh(cpu);
      if (!Object.values<number>(POWER).includes(state)) return false;
      // All that a monitor without power and one that stands by show is nothing.
      const value = state === POWER.ON ? clocking & ~SCREEN_OFF : clocking | SCREEN_OFF;
      writeIndexed(io, PORT.SEQUENCER, SEQ.CLOCKING_MODE, value);
      return true;
    }
    case 2:
      setHigh(cpu, "ebx", clocking & SCREEN_OFF ? POWER.OFF : POWER.ON);
      return true;
    default:
      return false;
  }
}

/** AX=4F15h: capabilities (BL=0), or block DX of the monitor on controller CX to ES:DI (BL=1). */
export function displayData(context: ServiceContext): boolean {
  const { cpu, memory } = context;
  const address = registersAddress(context);
  if (address === 0 || memory.read32(address) !== EDID_HEADER || cx(cpu) !== 0) return false;
  switch (bl(cpu)) {
    case 0:
      setWord(cpu, "ebx", DDC_CAPABILITIES);
      return true;
    case 1: {
      if (dx(cpu) > memory.read8(address + EXTENSIONS)) return false;
      const block = new Uint8Array(EDID_BLOCK);
      memory.read(address + dx(cpu) * EDID_BLOCK, block);
      memory.write(esAddress(cpu, cpu.edi), block);
      return true;
    }
    default:
      return false;
  }
}
