/**
 * The colours that a mode set loads into the DAC, computed by the rules behind IBM's tables
 * (PS/2 BIOS Technical Reference, INT 10h AH=00h; the 256 colours of mode 13h are hue rings).
 */

/** Red, green and blue of every DAC index, 6 bits each; as long as the palette. */
export type Palette = Uint8Array;

const WEAK = 0x15;
const NORMAL = 0x2a;
const FULL = 0x3f;

function palette(count: number, color: (index: number) => readonly number[]): Palette {
  const colors = new Uint8Array(count * 3);
  for (let i = 0; i < count; i++) colors.set(color(i), i * 3);
  return colors;
}

/** One of the sixteen CGA colours: bit 3 bright, then red, green, blue; dark yellow is brown. */
function cgaColor(index: number): readonly number[] {
  const bright = index & 8 ? WEAK : 0;
  const component = (bit: number) => (index & bit ? NORMAL : 0) + bright;
  if (index === 6) return [NORMAL, WEAK, 0];
  return [component(4), component(2), component(1)];
}

/** 200-line modes: attribute bit 4 is intensity, bit 3 and 5 mean nothing. */
const CGA = palette(64, (i) => cgaColor((i & 7) | ((i & 0x10) >> 1)));

/** 350-line and later modes: two bits for each component, primary RGB in bits 2–0, secondary in bits 5–3. */
const EGA = palette(64, (i) => [2, 1, 0].map((bit) => (i & (1 << bit) ? NORMAL : 0) + (i & (8 << bit) ? WEAK : 0)));

const MONO_LEVELS = [0, NORMAL, 0, FULL] as const;
const MONO = palette(64, (i) => {
  const level = MONO_LEVELS[(i >> 3) & 3]!;
  return [level, level, level];
});

const GRAYS = [0x00, 0x05, 0x08, 0x0b, 0x0e, 0x11, 0x14, 0x18, 0x1c, 0x20, 0x24, 0x28, 0x2d, 0x32, 0x38, 0x3f];
/** Five steps from the weakest to the strongest component: three saturations in each of three intensities. */
const RINGS = [
  [0x00, 0x10, 0x1f, 0x2f, 0x3f],
  [0x1f, 0x27, 0x2f, 0x37, 0x3f],
  [0x2d, 0x31, 0x36, 0x3a, 0x3f],
  [0x00, 0x07, 0x0e, 0x15, 0x1c],
  [0x0e, 0x11, 0x15, 0x18, 0x1c],
  [0x14, 0x16, 0x18, 0x1a, 0x1c],
  [0x00, 0x04, 0x08, 0x0c, 0x10],
  [0x08, 0x0a, 0x0c, 0x0e, 0x10],
  [0x0b, 0x0c, 0x0d, 0x0f, 0x10],
] as const;
const RING_SIZE = 24;

/** Position 0–23 on the ring blue, magenta, red, yellow, green, cyan: each component rises and falls by quarters. */
function ringColor(ring: readonly number[], position: number): readonly number[] {
  const level = (shift: number) => {
    const at = (position + shift) % RING_SIZE;
    // Up for four steps, full for eight, down for four, off for eight.
    return ring[at <= 4 ? at : at <= 12 ? 4 : at <= 16 ? 16 - at : 0]!;
  };
  return [level(0), level(16), level(8)];
}

const VGA = palette(256, (i) => {
  if (i < 16) return cgaColor(i);
  if (i < 32) return [GRAYS[i - 16]!, GRAYS[i - 16]!, GRAYS[i - 16]!];
  const ring = RINGS[Math.floor((i - 32) / RING_SIZE)];
  return ring ? ringColor(ring, (i - 32) % RING_SIZE) : [0, 0, 0];
});

/** Default palettes by the name that the mode table uses. */
export const PALETTES = { cga: CGA, ega: EGA, mono: MONO, vga: VGA } as const;

/** The grey of a colour: 30 % red, 59 % green, 11 % blue (INT 10h AX=101Bh). */
export function gray(red: number, green: number, blue: number): number {
  return (red * 77 + green * 151 + blue * 28 + 128) >> 8;
}
