/** Modes, windows and display start of VBE: INT 10h AX=4F02h, 4F03h and 4F05h to 4F09h (VBE 3.0, "VBE Functions"). */
import type { ServiceContext } from "../service.ts";
import { PORT } from "./adapter.ts";
import { BDA, CONTROL } from "./layout.ts";
import { loadPalette, parametersOf, programRegisters, setFontVectors, setMode, showPicture } from "./mode.ts";
import { MODES } from "./modes.ts";
import { bh, bl, bx, cx, dx, esAddress, setHigh, setWord } from "./registers.ts";
import { inRetrace } from "./retrace.ts";
import {
  currentMode,
  DISPI,
  displayMemory,
  ENABLE,
  findMode,
  pitchOf,
  readDispi,
  type VbeMode,
  writeDispi,
} from "./vbe-modes.ts";

/** Bits of a mode number. */
const MODE = { NUMBER: 0x1ff, LINEAR: 0x4000, NO_CLEAR: 0x8000 } as const;
const FIRST_NUMBER = 0x100;
/** VGA modes whose registers the planar and the packed modes begin with. */
const BASE = { PLANAR: 0x12, PACKED: 0x13 } as const;
/** Mode number in the data area: none that the services for characters know. */
const NOT_A_VGA_MODE = 0xff;
const CHARACTER = { WIDTH: 8, HEIGHT: 16 } as const;
/** Bit 7 of a subfunction: in the vertical retrace. */
const IN_RETRACE = 0x80;
const DAC_BITS = { NARROW: 6, WIDE: 8 } as const;

/** AX=4F02h: mode BX, of VBE or of the VGA. */
export function setVbeMode(context: ServiceContext): boolean {
  return setModeNumber(context, bx(context.cpu));
}

/** Set a mode by what BX says in AX=4F02h; false when there is none such. */
export function setModeNumber(context: ServiceContext, request: number): boolean {
  const { io } = context;
  const number = request & MODE.NUMBER;
  const keep = (request & MODE.NO_CLEAR) !== 0;
  if (number < FIRST_NUMBER) return number < IN_RETRACE && setMode(context, number | (keep ? CONTROL.NO_CLEAR : 0));
  const mode = findMode(io, number);
  const linear = (request & MODE.LINEAR) !== 0;
  if (!mode || (linear && mode.bits === 4)) return false;
  const base = MODES.get(mode.bits === 4 ? BASE.PLANAR : BASE.PACKED)!;
  const parameters = parametersOf(context, base.entry);
  writeDispi(io, DISPI.ENABLE, 0);
  programRegisters(context, parameters);
  loadPalette(context, base, parameters);
  writeDispi(io, DISPI.WIDTH, mode.width);
  writeDispi(io, DISPI.HEIGHT, mode.height);
  writeDispi(io, DISPI.BITS, mode.bits);
  writeDispi(io, DISPI.ENABLE, ENABLE.ENABLED | (linear ? ENABLE.LINEAR : 0) | (keep ? ENABLE.NO_CLEAR : 0));
  setDataArea(context, mode, keep);
  setFontVectors(context, CHARACTER.HEIGHT);
  showPicture(context, parameters);
  return true;
}

function setDataArea({ memory }: ServiceContext, mode: VbeMode, keep: boolean): void {
  memory.write8(BDA.MODE, NOT_A_VGA_MODE);
  memory.write16(BDA.COLUMNS, mode.width / CHARACTER.WIDTH);
  memory.write8(BDA.ROWS, Math.floor(mode.height / CHARACTER.HEIGHT) - 1);
  memory.write16(BDA.CHARACTER_HEIGHT, CHARACTER.HEIGHT);
  memory.write16(BDA.PAGE_SIZE, 0);
  memory.write16(BDA.PAGE_START, 0);
  memory.write8(BDA.ACTIVE_PAGE, 0);
  for (let page = 0; page < 8; page++) memory.write16(BDA.CURSOR_POSITIONS + page * 2, 0);
  memory.write16(BDA.CRTC_PORT, PORT.CRTC_COLOR);
  const control = memory.read8(BDA.CONTROL) & ~CONTROL.NO_CLEAR;
  memory.write8(BDA.CONTROL, control | (keep ? CONTROL.NO_CLEAR : 0));
}

/** AX=4F03h: the mode in BX, with the flags it was set with. */
export function getVbeMode(context: ServiceContext): boolean {
  const { cpu, io, memory } = context;
  const mode = currentMode(io);
  if (!mode) setWord(cpu, "ebx", memory.read8(BDA.MODE));
  else {
    const enable = readDispi(io, DISPI.ENABLE);
    const flags = (enable & ENABLE.LINEAR ? MODE.LINEAR : 0) | (enable & ENABLE.NO_CLEAR ? MODE.NO_CLEAR : 0);
    setWord(cpu, "ebx", mode.number | flags);
  }
  return true;
}

/** AX=4F05h: move window A to bank DX (BH=0), or tell where it is (BH=1). */
export function windowControl(context: ServiceContext): boolean {
  const { cpu, io } = context;
  if (bl(cpu) !== 0 || !currentMode(io)) return false;
  if (bh(cpu) === 0) {
    if (dx(cpu) >= displayMemory(io) >> 16) return false;
    writeDispi(io, DISPI.BANK, dx(cpu));
  } else if (bh(cpu) === 1) setWord(cpu, "edx", readDispi(io, DISPI.BANK));
  else return false;
  return true;
}

/** AX=4F06h: length of a scan line in pixels (BL=0) or bytes (2); tell it (1), or the greatest (3). */
export function scanLineLength(context: ServiceContext): boolean {
  const { cpu, io } = context;
  const mode = currentMode(io);
  if (!mode) return false;
  const perPixel = pitchOf(1, mode.bits);
  const planes = mode.bits === 4 ? 4 : 1;
  const longest = Math.floor(displayMemory(io) / planes / mode.height);
  switch (bl(cpu)) {
    case 0:
    case 2: {
      const wanted = bl(cpu) === 0 ? cx(cpu) : cx(cpu) / perPixel;
      // The interface rounds down, callers expect at least what they asked for (VBE 3.0, function 06h).
      const width = Math.ceil(wanted / 8) * 8;
      if (width < mode.width || width * perPixel > longest) return false;
      writeDispi(io, DISPI.VIRTUAL_WIDTH, width);
      break;
    }
    case 1:
      break;
    case 3:
      setWord(cpu, "ebx", Math.min(longest, 0xffff));
      setWord(cpu, "ecx", Math.min(Math.floor(longest / perPixel), 0xffff));
      setWord(cpu, "edx", mode.height);
      return true;
    default:
      return false;
  }
  const width = readDispi(io, DISPI.VIRTUAL_WIDTH);
  setWord(cpu, "ebx", width * perPixel);
  setWord(cpu, "ecx", width);
  setWord(cpu, "edx", readDispi(io, DISPI.VIRTUAL_HEIGHT));
  return true;
}

/** AX=4F07h: the picture begins at pixel CX of line DX (BL=0; 80h: from the next retrace on), or tell (1). */
export function displayStart(context: ServiceContext): boolean | undefined {
  const { cpu, io } = context;
  const mode = currentMode(io);
  if (!mode) return false;
  switch (bl(cpu)) {
    case 0:
    case IN_RETRACE: {
      if (dx(cpu) + mode.height > readDispi(io, DISPI.VIRTUAL_HEIGHT)) return false;
      if (bl(cpu) === IN_RETRACE && !inRetrace(context)) return undefined;
      writeDispi(io, DISPI.X_OFFSET, cx(cpu));
      writeDispi(io, DISPI.Y_OFFSET, dx(cpu));
      return true;
    }
    case 1:
      setHigh(cpu, "ebx", 0);
      setWord(cpu, "ecx", readDispi(io, DISPI.X_OFFSET));
      setWord(cpu, "edx", readDispi(io, DISPI.Y_OFFSET));
      return true;
    default:
      return false;
  }
}

/** AX=4F08h: bits of a colour's component in the DAC; BH asks (BL=0), and is told. */
export function dacFormat(context: ServiceContext): boolean {
  const { cpu, io } = context;
  const mode = currentMode(io);
  // Direct colours have no palette (VBE 3.0, function 08h).
  if (mode && mode.bits > 8) return false;
  if (bl(cpu) > 1) return false;
  let enable = readDispi(io, DISPI.ENABLE);
  if (bl(cpu) === 0) {
    if (bh(cpu) < DAC_BITS.NARROW) return false;
    enable = bh(cpu) >= DAC_BITS.WIDE ? enable | ENABLE.DAC_8_BIT : enable & ~ENABLE.DAC_8_BIT;
    writeKeepingBank(context, enable);
  }
  setHigh(cpu, "ebx", enable & ENABLE.DAC_8_BIT ? DAC_BITS.WIDE : DAC_BITS.NARROW);
  return true;
}

/** Writing the enable register puts the window back to the first bank. */
function writeKeepingBank({ io }: ServiceContext, enable: number): void {
  const bank = readDispi(io, DISPI.BANK);
  writeDispi(io, DISPI.ENABLE, enable);
  writeDispi(io, DISPI.BANK, bank);
}

/** AX=4F09h: set (BL=0; 80h: in the retrace) or get (1) CX colours from DX on at ES:DI: blue, green, red and a filler. */
export function paletteData(context: ServiceContext): boolean | undefined {
  const { cpu, io, memory } = context;
  const [first, count] = [dx(cpu), cx(cpu)];
  const address = esAddress(cpu, cpu.edi);
  if (first + count > 256) return false;
  switch (bl(cpu)) {
    case 0:
    case IN_RETRACE:
      if (bl(cpu) === IN_RETRACE && !inRetrace(context)) return undefined;
      io.out(PORT.DAC_WRITE_INDEX, 1, first & 0xff);
      for (let i = 0; i < count; i++)
        for (let component = 2; component >= 0; component--)
          io.out(PORT.DAC_DATA, 1, memory.read8(address + i * 4 + component));
      return true;
    case 1:
      io.out(PORT.DAC_READ_INDEX, 1, first & 0xff);
      for (let i = 0; i < count; i++) {
        for (let component = 2; component >= 0; component--)
          memory.write8(address + i * 4 + component, io.in(PORT.DAC_DATA, 1));
        memory.write8(address + i * 4 + 3, 0);
      }
      return true;
    default:
      return false;
  }
}
