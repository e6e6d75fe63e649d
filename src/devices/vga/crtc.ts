/**
 * What the CRT controller's registers mean: the geometry of the picture and the timing of the beam. Pure functions.
 */
import { CLOCKING, CRTC, MAXIMUM_SCAN, MISC, MODE_CONTROL, OVERFLOW, RETRACE_END } from "./registers.ts";

/** Geometry of the displayed picture, in character clocks and scan lines. */
export interface Geometry {
  /** Character clocks displayed in a line. */
  readonly columns: number;
  /** Scan lines displayed. */
  readonly lines: number;
  /** Scan lines of a character row, before double scanning. */
  readonly rowLines: number;
  /** How often each row scan is drawn: 1 or 2. */
  readonly scanRepeat: number;
  /** Last scan line before the address counter restarts at zero. */
  readonly lineCompare: number;
  /** Address units from one row to the next. */
  readonly pitch: number;
  readonly start: number;
}

/** Beam timing in ns of guest time. */
export interface Timing {
  readonly frame: number;
  readonly line: number;
  /** Part of a line in which pixels are shown. */
  readonly lineVisible: number;
  /** Start of vertical blanking, from the start of the frame. */
  readonly blankStart: number;
  readonly retraceStart: number;
  readonly retraceEnd: number;
}

/** Dot clocks by clock select, Hz. 2 and 3 are external; software that selects them gets the usual one. */
const DOT_CLOCKS = [25_175_000, 28_322_000, 25_175_000, 25_175_000] as const;
/** Frames shorter or longer than a monitor would show are timed as 70 Hz ones: 40–200 Hz is accepted. */
const SHORTEST_FRAME = 5_000_000;
const LONGEST_FRAME = 25_000_000;

/** Decode the picture's geometry. */
export function geometry(crtc: Uint8Array): Geometry {
  const maximumScan = crtc[CRTC.MAXIMUM_SCAN_LINE]!;
  const vertical = crtc[CRTC.MODE_CONTROL]! & MODE_CONTROL.DOUBLE_VERTICAL ? 2 : 1;
  return {
    columns: crtc[CRTC.HORIZONTAL_DISPLAY_END]! + 1,
    lines: (verticalDisplayEnd(crtc) + 1) * vertical,
    rowLines: (maximumScan & MAXIMUM_SCAN.ROWS_MASK) + 1,
    scanRepeat: maximumScan & MAXIMUM_SCAN.DOUBLE_SCAN ? 2 : 1,
    lineCompare: lineCompare(crtc) * vertical,
    pitch: crtc[CRTC.OFFSET]! * 2,
    start: (crtc[CRTC.START_ADDRESS_HIGH]! << 8) | crtc[CRTC.START_ADDRESS_LOW]!,
  };
}

/** Decode the beam's timing. `clocking` is sequencer register 1, `misc` the miscellaneous output register. */
export function timing(crtc: Uint8Array, clocking: number, misc: number): Timing {
  const overflow = crtc[CRTC.OVERFLOW]!;
  const vertical = crtc[CRTC.MODE_CONTROL]! & MODE_CONTROL.DOUBLE_VERTICAL ? 2 : 1;
  const clock = DOT_CLOCKS[(misc >> MISC.CLOCK_SELECT_SHIFT) & MISC.CLOCK_SELECT_MASK]!;
  const dots = (clocking & CLOCKING.EIGHT_DOTS ? 8 : 9) * (clocking & CLOCKING.HALF_DOT_CLOCK ? 2 : 1);
  const character = (dots * 1e9) / clock;
  // Totals are programmed less 5 characters and less 2 lines (IBM VGA, CRT controller 00h and 06h).
  const characters = crtc[CRTC.HORIZONTAL_TOTAL]! + 5;
  const total =
    crtc[CRTC.VERTICAL_TOTAL]! +
    bit(overflow, OVERFLOW.VERTICAL_TOTAL_8, 8) +
    bit(overflow, OVERFLOW.VERTICAL_TOTAL_9, 9) +
    2;
  const line = character * characters;
  const frame = line * total * vertical;
  if (frame < SHORTEST_FRAME || frame > LONGEST_FRAME) return STANDARD;
  const visible = Math.min(verticalDisplayEnd(crtc) + 1, total - 1);
  const start = Math.min(
    Math.max(
      crtc[CRTC.VERTICAL_RETRACE_START]! +
        bit(overflow, OVERFLOW.VERTICAL_RETRACE_START_8, 8) +
        bit(overflow, OVERFLOW.VERTICAL_RETRACE_START_9, 9),
      visible,
    ),
    total - 1,
  );
  // The end register is compared with the low four bits of the line counter.
  const width = (crtc[CRTC.VERTICAL_RETRACE_END]! - start) & RETRACE_END.END_MASK || RETRACE_END.END_MASK + 1;
  return {
    frame,
    line,
    lineVisible: character * Math.min(crtc[CRTC.HORIZONTAL_DISPLAY_END]! + 1, characters),
    blankStart: visible * line * vertical,
    retraceStart: start * line * vertical,
    retraceEnd: Math.min(start + width, total) * line * vertical,
  };
}

/** 720 × 400 at 70 Hz: 449 lines of 900 dots. */
const STANDARD: Timing = (() => {
  const line = (900 * 1e9) / 28_322_000;
  return {
    frame: line * 449,
    line,
    lineVisible: line * 0.8,
    blankStart: line * 400,
    retraceStart: line * 412,
    retraceEnd: line * 414,
  };
})();

function verticalDisplayEnd(crtc: Uint8Array): number {
  const overflow = crtc[CRTC.OVERFLOW]!;
  return (
    crtc[CRTC.VERTICAL_DISPLAY_END]! +
    bit(overflow, OVERFLOW.VERTICAL_DISPLAY_END_8, 8) +
    bit(overflow, OVERFLOW.VERTICAL_DISPLAY_END_9, 9)
  );
}

function lineCompare(crtc: Uint8Array): number {
  return (
    crtc[CRTC.LINE_COMPARE]! +
    bit(crtc[CRTC.OVERFLOW]!, OVERFLOW.LINE_COMPARE_8, 8) +
    bit(crtc[CRTC.MAXIMUM_SCAN_LINE]!, MAXIMUM_SCAN.LINE_COMPARE_9, 9)
  );
}

function bit(register: number, mask: number, position: number): number {
  return register & mask ? 1 << position : 0;
}

/**
 * How the address counter reaches the planes (IBM VGA, CRT controller 17h bits 6 and 5, 14h bit 6): 0 byte, 1 word with
 * counter bit 13 as address bit 0, 2 word with bit 15, 3 double word with bits 12 and 13 below.
 */
export type AddressMode = 0 | 1 | 2 | 3;

/** The address mode that the registers select. `doubleWord` is bit 6 of 14h. */
export function addressMode(crtc: Uint8Array, doubleWord: boolean): AddressMode {
  if (doubleWord) return 3;
  const mode = crtc[CRTC.MODE_CONTROL]!;
  if (mode & MODE_CONTROL.BYTE_MODE) return 0;
  return mode & MODE_CONTROL.ADDRESS_WRAP_15 ? 2 : 1;
}

/** Plane offset shown for address counter value `counter`. */
export function planeOffset(mode: AddressMode, counter: number): number {
  switch (mode) {
    case 0:
      return counter & 0xffff;
    case 1:
      return ((counter << 1) & 0xfffe) | ((counter >> 13) & 1);
    case 2:
      return ((counter << 1) & 0xfffe) | ((counter >> 15) & 1);
    default:
      return ((counter << 2) & 0xfffc) | ((counter >> 12) & 3);
  }
}
