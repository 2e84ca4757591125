/**
 * Advance widths of DejaVu Sans for the printable ASCII characters from space to tilde, in hundredths of the font size. Vega's own
 * estimate without a canvas (0.8 em for every character) leaves holes in legends, and a canvas would make the bytes machine-dependent.
 */
// prettier-ignore
const advances = [
  32, 40, 46, 84, 64, 95, 78, 27, 39, 39, 50, 84, 32, 36, 32, 34, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 34, 34, 84, 84, 84, 53,
  100, 68, 69, 70, 77, 63, 58, 77, 75, 29, 29, 66, 56, 86, 75, 79, 60, 79, 69, 63, 61, 73, 68, 99, 69, 61, 69, 39, 34, 39, 84, 50,
  50, 61, 63, 55, 63, 62, 35, 63, 63, 28, 28, 58, 28, 97, 63, 61, 63, 63, 41, 52, 39, 63, 59, 82, 59, 59, 52, 64, 34, 64, 84,
];
const boldFactor = 1.13;
/** Characters outside ASCII: wide enough for most. */
const otherAdvance = 80;

/** Width in pixels of one line of text. */
export function textWidth(text: string, fontSize: number, bold: boolean): number {
  let hundredths = 0;
  for (const character of text) hundredths += advances[character.charCodeAt(0) - 32] ?? otherAdvance;
  return (hundredths / 100) * fontSize * (bold ? boldFactor : 1);
}
