/** Colours: INT 10h AH=0Bh (CGA palettes) and AH=10h (attribute palette and DAC). */
import type { ServiceContext } from "../service.ts";
import { ATC, PALETTE_ON, PORT, readAttribute, resetFlipFlop, writeAttribute, writeColor } from "./adapter.ts";
import { BDA } from "./layout.ts";
import { sumToGray } from "./mode.ts";
import { MODES } from "./modes.ts";
import { al, bh, bl, bx, ch, cl, cx, dh, dx, esAddress, setHigh, setLow, setWord } from "./registers.ts";

const PALETTE_REGISTERS = 16;
const BLINK = 0x08;
/** Attribute mode bit 7: the DAC in sixteen pages of sixteen colours instead of four of 64. */
const PAGES_OF_16 = 0x80;
/** Bits of the CGA colour register kept at 40:66h. */
const CGA = { COLOR: 0x1f, BRIGHT: 0x10, PALETTE_1: 0x20 } as const;
const BLINK_ENABLED = 0x20;

/** INT 10h AH=0Bh: border and background colour, palette of mode 4. */
export function setCgaPalette(context: ServiceContext): void {
  const { cpu, memory } = context;
  let register = memory.read8(BDA.PALETTE);
  const text = MODES.get(memory.read8(BDA.MODE))?.kind === "text";
  if (bh(cpu) === 0) {
    register = (register & ~CGA.COLOR) | (bl(cpu) & CGA.COLOR);
    // CGA intensity is bit 3, the attribute controller's bit 4.
    const color = (register & 0x07) | ((register & 0x08) << 1);
    writeAttribute(context, ATC.OVERSCAN, color);
    if (!text) writeAttribute(context, 0, color);
  } else register = bl(cpu) & 1 ? register | CGA.PALETTE_1 : register & ~CGA.PALETTE_1;
  memory.write8(BDA.PALETTE, register);
  if (text) return;
  const first = (register & CGA.PALETTE_1 ? 3 : 2) | (register & CGA.BRIGHT);
  for (let i = 0; i < 3; i++) writeAttribute(context, 1 + i, first + i * 2);
}

/** INT 10h AH=10h. */
export function paletteRegisters(context: ServiceContext): void {
  const { cpu, io, memory } = context;
  switch (al(cpu)) {
    case 0x00:
      if (bl(cpu) <= ATC.COLOR_SELECT) writeAttribute(context, bl(cpu), bh(cpu));
      break;
    case 0x01:
      writeAttribute(context, ATC.OVERSCAN, bh(cpu));
      break;
    case 0x02:
      setAllPalette(context, esAddress(cpu, cpu.edx));
      break;
    case 0x03:
      setBlinking(context, (bl(cpu) & 1) !== 0);
      break;
    case 0x07:
      if (bl(cpu) <= ATC.COLOR_SELECT) setHigh(cpu, "ebx", readAttribute(context, bl(cpu)));
      break;
    case 0x08:
      setHigh(cpu, "ebx", readAttribute(context, ATC.OVERSCAN));
      break;
    case 0x09:
      for (let i = 0; i < PALETTE_REGISTERS; i++) memory.write8(esAddress(cpu, cpu.edx + i), readAttribute(context, i));
      memory.write8(esAddress(cpu, cpu.edx + PALETTE_REGISTERS), readAttribute(context, ATC.OVERSCAN));
      break;
    case 0x10:
      writeColor(io, bx(cpu), dh(cpu), ch(cpu), cl(cpu));
      break;
    case 0x12:
      io.out(PORT.DAC_WRITE_INDEX, 1, bl(cpu));
      for (let i = 0; i < Math.min(cx(cpu), 256) * 3; i++)
        io.out(PORT.DAC_DATA, 1, memory.read8(esAddress(cpu, dx(cpu) + i)));
      break;
    case 0x13:
      selectColorPage(context);
      break;
    case 0x15:
      io.out(PORT.DAC_READ_INDEX, 1, bl(cpu));
      setHigh(cpu, "edx", io.in(PORT.DAC_DATA, 1));
      setHigh(cpu, "ecx", io.in(PORT.DAC_DATA, 1));
      setLow(cpu, "ecx", io.in(PORT.DAC_DATA, 1));
      break;
    case 0x17:
      io.out(PORT.DAC_READ_INDEX, 1, bl(cpu));
      for (let i = 0; i < Math.min(cx(cpu), 256) * 3; i++)
        memory.write8(esAddress(cpu, dx(cpu) + i), io.in(PORT.DAC_DATA, 1));
      break;
    case 0x18:
      io.out(PORT.DAC_MASK, 1, bl(cpu));
      break;
    case 0x19:
      setLow(cpu, "ebx", io.in(PORT.DAC_MASK, 1));
      break;
    case 0x1a: {
      const small = (readAttribute(context, ATC.MODE_CONTROL) & PAGES_OF_16) !== 0;
      const select = readAttribute(context, ATC.COLOR_SELECT);
      setWord(cpu, "ebx", ((small ? select : select >> 2) << 8) | (small ? 1 : 0));
      break;
    }
    case 0x1b:
      sumToGray(context, bx(cpu) & 0xff, Math.min(cx(cpu), 256));
      break;
  }
}

function setAllPalette(context: ServiceContext, table: number): void {
  const { io, memory } = context;
  resetFlipFlop(context);
  for (let i = 0; i <= PALETTE_REGISTERS; i++) {
    io.out(PORT.ATTRIBUTE, 1, i === PALETTE_REGISTERS ? ATC.OVERSCAN : i);
    io.out(PORT.ATTRIBUTE, 1, memory.read8(table + i));
  }
  io.out(PORT.ATTRIBUTE, 1, PALETTE_ON);
}

/** Attribute bit 7 blinks, or makes the background bright. */
function setBlinking(context: ServiceContext, blinking: boolean): void {
  const { memory } = context;
  const mode = readAttribute(context, ATC.MODE_CONTROL);
  writeAttribute(context, ATC.MODE_CONTROL, blinking ? mode | BLINK : mode & ~BLINK);
  const select = memory.read8(BDA.MODE_SELECT);
  memory.write8(BDA.MODE_SELECT, blinking ? select | BLINK_ENABLED : select & ~BLINK_ENABLED);
}

/** AL=13h: BL=0 chooses how the DAC is divided (BH), BL=1 the part in use. */
function selectColorPage(context: ServiceContext): void {
  const { cpu } = context;
  const mode = readAttribute(context, ATC.MODE_CONTROL);
  if (bl(cpu) === 0) writeAttribute(context, ATC.MODE_CONTROL, bh(cpu) & 1 ? mode | PAGES_OF_16 : mode & ~PAGES_OF_16);
  else writeAttribute(context, ATC.COLOR_SELECT, mode & PAGES_OF_16 ? bh(cpu) & 0x0f : (bh(cpu) & 3) << 2);
}
