/** INT 10h AH=4Fh: VESA BIOS extensions 3.0. Which function is served where, and how it answers. */
import type { Service, ServiceContext } from "../service.ts";
import { al, setWord } from "./registers.ts";
import { controllerInfo, modeInfo } from "./vbe-info.ts";
import { hasDispi, isLinear } from "./vbe-modes.ts";
import { displayData, powerManagement } from "./vbe-monitor.ts";
import { protectedInterface } from "./vbe-protected.ts";
import {
  dacFormat,
  displayStart,
  getVbeMode,
  paletteData,
  scanLineLength,
  setVbeMode,
  windowControl,
} from "./vbe-set.ts";
import { vbeState } from "./vbe-state.ts";

/** AX behind a function that is there: AL says so, AH whether it did what it was asked, or never does so in this mode. */
const RESULT = { DONE: 0x004f, FAILED: 0x014f, NOT_IN_MODE: 0x034f } as const;

/** Serves a function; false when it cannot do what it is asked, undefined when it will be called again. */
type Function = (context: ServiceContext) => boolean | undefined;

/** Modes that were set with their linear frame buffer have no window (VBE 3.0, function 05h). */
const WINDOW_CONTROL = 0x05;

const FUNCTIONS: ReadonlyMap<number, Function> = new Map<number, Function>([
  [0x00, controllerInfo],
  [0x01, modeInfo],
  [0x02, setVbeMode],
  [0x03, getVbeMode],
  [0x04, vbeState],
  [WINDOW_CONTROL, windowControl],
  [0x06, scanLineLength],
  [0x07, displayStart],
  [0x08, dacFormat],
  [0x09, paletteData],
  [0x0a, protectedInterface],
  [0x10, powerManagement],
  [0x15, displayData],
]);

/** INT 10h AH=4Fh. Without an adapter that can do more than a VGA there is none of it. */
export const vbe: Service = (context): void => {
  const { cpu, io } = context;
  const serve = FUNCTIONS.get(al(cpu));
  if (!serve || !hasDispi(io)) return;
  if (al(cpu) === WINDOW_CONTROL && isLinear(io)) {
    setWord(cpu, "eax", RESULT.NOT_IN_MODE);
    return;
  }
  const done = serve(context);
  if (done !== undefined) setWord(cpu, "eax", done ? RESULT.DONE : RESULT.FAILED);
};

/** The far procedure behind WinFuncPtr: AX=4F05h without AX. */
export function moveWindow(context: ServiceContext): void {
  setWord(context.cpu, "eax", windowControl(context) ? RESULT.DONE : RESULT.FAILED);
}
