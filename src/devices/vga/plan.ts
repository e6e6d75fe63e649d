/**
 * How a picture is made: its size, and for each line what it shows. A plan holds until a register changes that decides
 * about more than colours of blinking things; the memory it reads may change meanwhile.
 */
import { type AddressMode, addressMode, type Geometry } from "./crtc.ts";
import type { Dac } from "./dac.ts";
import type { LinearMode } from "./dispi.ts";
import type { VideoMemory } from "./memory.ts";
import { ATC, ATTRIBUTE_MODE, CRTC, UNDERLINE } from "./registers.ts";

/** The adapter's state as far as the picture depends on it. */
export interface DisplayState {
  readonly sequencer: Uint8Array;
  readonly crtc: Uint8Array;
  readonly graphics: Uint8Array;
  readonly attribute: Uint8Array;
  /** Palette address source: false blanks the screen. */
  readonly paletteOn: boolean;
  readonly dac: Dac;
  readonly memory: VideoMemory;
  /** Mode of the display interface, which takes the place of the VGA's. */
  readonly linear: LinearMode | undefined;
}

/** Where cursor and blinking characters stand at a moment. */
export interface BlinkPhase {
  readonly cursorOn: boolean;
  readonly charactersOn: boolean;
}

/** One picture's way from memory to pixels, one pixel for each distinct dot. */
export interface Plan {
  readonly width: number;
  readonly height: number;
  /** A look at the picture begins: cursor and blinking stand so until the next one. */
  begin?(phase: BlinkPhase): void;
  /** Whether line `y` may look otherwise than at the last look, which ended at the moment `since`. */
  changed(y: number, since: number): boolean;
  /** Draw line `y` into `line`, which has room for {@link LINE_MARGIN} more pixels; where the picture begins in it. */
  paint(y: number, line: Uint32Array): number;
}

/** Pixels that a line is painted beyond its width: a character, for panning. */
export const LINE_MARGIN = 16;

/** What each line of a picture begins with, by line. */
export interface LineTable {
  readonly height: number;
  /** Address counter at the left end, byte panning included. */
  readonly address: Int32Array;
  readonly rowScan: Uint8Array;
  /** Dots to the left of the picture's edge. */
  readonly pan: Uint8Array;
}

/**
 * Walk the scan lines as the CRT controller counts them: rows, line compare, panning. Every `repeat`th of them is a line
 * of the picture. `panning` is the dot panning in this mode.
 */
export function lineTable(display: DisplayState, shape: Geometry, repeat: number, panning: number): LineTable {
  const { crtc, attribute } = display;
  const height = Math.max(1, Math.floor(shape.lines / repeat));
  const table = {
    height,
    address: new Int32Array(height),
    rowScan: new Uint8Array(height),
    pan: new Uint8Array(height),
  };
  const compatible = (attribute[ATC.MODE_CONTROL]! & ATTRIBUTE_MODE.PANNING_COMPATIBILITY) !== 0;
  let bytePan = bytePanning(crtc);
  let pan = panning;
  let rowScan = crtc[CRTC.PRESET_ROW_SCAN]! & 0x1f;
  let address = shape.start;
  let drawn = 0;
  for (let y = 0; y < height * repeat; y++) {
    if (y % repeat === 0) {
      table.address[y / repeat] = address + bytePan;
      table.rowScan[y / repeat] = rowScan;
      table.pan[y / repeat] = pan;
    }
    if (y === shape.lineCompare) {
      address = 0;
      rowScan = 0;
      drawn = 0;
      if (compatible) bytePan = pan = 0;
    } else if (++drawn === shape.scanRepeat) {
      drawn = 0;
      if (rowScan === shape.rowLines - 1) {
        rowScan = 0;
        address += shape.pitch;
      } else rowScan = (rowScan + 1) & 0x1f;
    }
  }
  return table;
}

/** Address units by which every line begins later (CRT controller 08h bits 6–5). */
export function bytePanning(crtc: Uint8Array): number {
  return (crtc[CRTC.PRESET_ROW_SCAN]! >> 5) & 3;
}

/** The address mode that the registers select. */
export function displayAddressMode(crtc: Uint8Array): AddressMode {
  return addressMode(crtc, (crtc[CRTC.UNDERLINE_LOCATION]! & UNDERLINE.DOUBLE_WORD) !== 0);
}

/** RGBA of the sixteen attribute values after plane enable, internal palette, colour select, pixel mask and DAC. */
export function pens(display: DisplayState, toggle: number): Uint32Array {
  const { attribute, dac } = display;
  const mode = attribute[ATC.MODE_CONTROL]!;
  const select = attribute[ATC.COLOR_SELECT]!;
  const colors = new Uint32Array(16);
  for (let i = 0; i < 16; i++) {
    let color = attribute[(i & attribute[ATC.PLANE_ENABLE]! & 0x0f) ^ toggle]! & 0x3f;
    if (mode & ATTRIBUTE_MODE.PALETTE_54_SELECT) color = (color & 0x0f) | ((select & 3) << 4);
    color |= (select & 0x0c) << 4;
    colors[i] = dac.rgba[color & dac.mask]!;
  }
  return colors;
}
