/** INT 10h AH=4Fh: VESA BIOS extensions 3.0. Which function is served where, and how it answers. */
import type { Service, ServiceContext } from "../service.ts";
import { al, setWord } from "./registers.ts";
import { controllerInfo, modeInfo } from "./vbe-info.ts";
import { hasDispi } from "./vbe-modes.ts";
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

/** AX behind a function that is there: AL says so, AH whether it did what it was asked. */
const RESULT = { DONE: 0x004f, FAILED: 0x014f } as const;

/** Serves a function; false when it cannot do what it is asked. */
type Function = (context: ServiceContext) => boolean | Promise<boolean>;

const FUNCTIONS: ReadonlyMap<number, Function> = new Map<number, Function>([
  [0x00, controllerInfo],
  [0x01, modeInfo],
  [0x02, setVbeMode],
  [0x03, getVbeMode],
  [0x04, vbeState],
  [0x05, windowControl],
  [0x06, scanLineLength],
  [0x07, displayStart],
  [0x08, dacFormat],
  [0x09, paletteData],
  [0x0a, protectedInterface],
  [0x10, powerManagement],
  [0x15, displayData],
]);

/** INT 10h AH=4Fh. Without an adapter that can do more than a VGA there is none of it. */
export const vbe: Service = (context): void | Promise<void> => {
  const { cpu, io } = context;
  const serve = FUNCTIONS.get(al(cpu));
  if (!serve || !hasDispi(io)) return;
  const answer = (done: boolean): void => setWord(cpu, "eax", done ? RESULT.DONE : RESULT.FAILED);
  const result = serve(context);
  if (typeof result !== "boolean") return result.then(answer);
  answer(result);
};

/** The far procedure behind WinFuncPtr: AX=4F05h without AX. */
export function moveWindow(context: ServiceContext): void {
  setWord(context.cpu, "eax", windowControl(context) ? RESULT.DONE : RESULT.FAILED);
}
