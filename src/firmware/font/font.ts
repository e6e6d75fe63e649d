/**
 * The adapter's fonts: code page 437 in 8 × 16, 8 × 14 and 8 × 8, one byte a row. Original drawings (glyphs16, glyphs8).
 */
import { composeAccents, drawBoxes, type Glyph, parseGlyphs } from "./compose.ts";
import { GLYPHS_8X8 } from "./glyphs8.ts";
import { GLYPHS_8X16 } from "./glyphs16.ts";

const CHARACTERS = 256;
/** Characters that are another one in inverse video. */
const INVERSES = [
  [0x08, 0x07],
  [0x0a, 0x09],
] as const;

/** 256 characters × 16 bytes. */
export const FONT_8X16: Uint8Array = build(16);
/** 256 characters × 14 bytes: the 8 × 16 font without its first and last row, which only box drawing uses. */
export const FONT_8X14: Uint8Array = build(14);
/** 256 characters × 8 bytes. */
export const FONT_8X8: Uint8Array = build(8);

function build(height: 8 | 14 | 16): Uint8Array {
  const font = new Uint8Array(CHARACTERS * height);
  for (const [code, glyph] of glyphsOf(height)) font.set(glyph, code * height);
  return font;
}

function glyphsOf(height: 8 | 14 | 16): Map<number, Glyph> {
  let glyphs: Map<number, Glyph>;
  if (height === 8) glyphs = parseGlyphs(GLYPHS_8X8, 8);
  else {
    glyphs = parseGlyphs(GLYPHS_8X16, 16);
    composeAccents(glyphs);
    if (height === 14) for (const [code, glyph] of glyphs) glyphs.set(code, glyph.slice(1, 15));
  }
  for (const [code, original] of INVERSES)
    glyphs.set(
      code,
      glyphs.get(original)!.map((row) => ~row & 0xff),
    );
  drawBoxes(glyphs, height);
  return glyphs;
}
