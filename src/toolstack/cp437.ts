/** Code page 437 as Unicode: what the character codes of a VGA text screen look like. */

// The control codes have pictures too: faces, card suits, notes, arrows.
const LOW = " ☺☻♥♦♣♠•◘○◙♂♀♪♫☼►◄↕‼¶§▬↨↑↓→←∟↔▲▼";
const HIGH =
  "ÇüéâäàåçêëèïîìÄÅÉæÆôöòûùÿÖÜ¢£¥₧ƒáíóúñÑªº¿⌐¬½¼¡«»░▒▓│┤╡╢╖╕╣║╗╝╜╛┐└┴┬├─┼╞╟╚╔╩╦╠═╬╧╨╤╥╙╘╒╓╫╪┘┌█▄▌▐▀αßΓπΣσµτΦΘΩδ∞φε∩≡±≥≤⌠⌡÷≈°∙·√ⁿ²■ ";

/** 256 characters, by character code. Codes 0 and 255 are spaces. */
export const CP437: readonly string[] = Array.from({ length: 256 }, (_, code) => {
  if (code < 0x20) return LOW[code]!;
  if (code < 0x7f) return String.fromCharCode(code);
  return code === 0x7f ? "⌂" : HIGH[code - 0x80]!;
});
