/** Mode pages of a CD/DVD drive, and what Mode Select may change in them. MMC-5 7, SFF-8020i 10.8.6. */
import { SENSE, type Sense } from "./atapi-commands.ts";

interface ModePage {
  readonly code: number;
  /** Parameters behind the code and length bytes, as they are after a reset. */
  readonly initial: readonly number[];
  /** Bits that Mode Select can change. */
  readonly changeable: readonly number[];
}

/** Kilobytes a second at 48 times the speed of audio: what the drive says that it does. */
const SPEED_KB = 8467;
const BUFFER_KB = 512;
const word = (value: number): [number, number] => [value >> 8, value & 0xff];
const fixed = (parameters: readonly number[]): readonly number[] => parameters.map(() => 0);

/** Capabilities (page 2Ah): reads CD-R, CD-RW and DVD, several sessions; locks and ejects; has a tray. */
const CAPABILITIES = [
  0x0b,
  0x00,
  0x40,
  0x00,
  0x29,
  0x00,
  ...word(SPEED_KB),
  ...word(256),
  ...word(BUFFER_KB),
  ...word(SPEED_KB),
  0,
  0,
  ...word(0),
  ...word(0),
  0,
  0,
] as const;

const PAGES: readonly ModePage[] = [
  // Read error recovery: everything is tried, with so many retries.
  { code: 0x01, initial: [0, 5, 0, 0, 0, 0, 0, 0, 0, 0], changeable: [0x3f, 0xff, 0, 0, 0, 0, 0, 0, 0, 0] },
  // Device parameters of CDs: 60 seconds to a minute, 75 frames to a second.
  { code: 0x0d, initial: [0, 0, ...word(60), ...word(75)], changeable: [0, 0x0f, 0, 0, 0, 0] },
  // Audio control: two ports at full volume.
  {
    code: 0x0e,
    initial: [4, 0, 0, 0, 0, 0, 1, 0xff, 2, 0xff, 0, 0, 0, 0],
    changeable: [2, 0, 0, 0, 0, 0, 0x0f, 0xff, 0x0f, 0xff, 0, 0, 0, 0],
  },
  // Power condition and time-outs, both without timers.
  { code: 0x1a, initial: new Array(10).fill(0), changeable: new Array(10).fill(0) },
  { code: 0x1d, initial: new Array(8).fill(0), changeable: new Array(8).fill(0) },
  { code: 0x2a, initial: CAPABILITIES, changeable: fixed(CAPABILITIES) },
];
const ALL_PAGES = 0x3f;

/** Page control: which values Mode Sense gives. */
const CONTROL = { CURRENT: 0, CHANGEABLE: 1, DEFAULT: 2, SAVED: 3 } as const;
/** Byte 6 of the capabilities: a disc is locked in. */
const LOCK = { PARAMETER: 4, BIT: 1 << 1 } as const;
const CAPABILITIES_PAGE = 0x2a;

/** Medium type of the header (SFF-8020i table 78): what is in the tray. */
export const MEDIUM_TYPE = { NONE: 0x70, OPEN: 0x71, DATA_CD: 0x01, DVD: 0x41 } as const;

/** Current values of the pages by code. */
export type ModeValues = Record<number, number[]>;

export function initialModeValues(): ModeValues {
  return Object.fromEntries(PAGES.map(({ code, initial }) => [code, [...initial]]));
}

/** What the drive's state puts into header and pages. */
export interface ModeContext {
  readonly mediumType: number;
  readonly locked: boolean;
}

/** MODE SENSE: header and pages, or how it fails. `long` is the form with ten bytes. */
export function modeSense(
  values: ModeValues,
  context: ModeContext,
  request: { readonly page: number; readonly control: number; readonly long: boolean },
): Uint8Array | Sense {
  const { page, control, long } = request;
  if (control === CONTROL.SAVED) return SENSE.NO_SAVING;
  const wanted = PAGES.filter(({ code }) => page === ALL_PAGES || code === page);
  if (wanted.length === 0) return SENSE.INVALID_FIELD;
  const body: number[] = [];
  for (const { code, initial, changeable } of wanted) {
    let parameters = control === CONTROL.CHANGEABLE ? changeable : initial;
    if (control === CONTROL.CURRENT) parameters = values[code] ?? initial;
    const shown = [...parameters];
    if (code === CAPABILITIES_PAGE && control === CONTROL.CURRENT && context.locked) shown[LOCK.PARAMETER]! |= LOCK.BIT;
    body.push(code, shown.length, ...shown);
  }
  const { mediumType } = context;
  // There is no block descriptor.
  if (!long) return Uint8Array.from([body.length + 3, mediumType, 0, 0, ...body]);
  return Uint8Array.from([...word(body.length + 6), mediumType, 0, 0, 0, 0, 0, ...body]);
}

/** MODE SELECT with its parameter list; how it fails, or undefined. Nothing changes when it fails. */
export function modeSelect(values: ModeValues, list: Uint8Array, long: boolean): Sense | undefined {
  if (list.length === 0) return undefined;
  const header = long ? 8 : 4;
  if (list.length < header) return SENSE.PARAMETER_LIST_LENGTH;
  const descriptors = long ? (list[6]! << 8) | list[7]! : list[3]!;
  const changes: [code: number, parameters: number[]][] = [];
  for (let at = header + descriptors; at < list.length; ) {
    const code = list[at]! & 0x3f;
    const length = list[at + 1] ?? 0;
    const page = PAGES.find((candidate) => candidate.code === code);
    if (page === undefined || length !== page.initial.length) return SENSE.INVALID_PARAMETER;
    if (at + 2 + length > list.length) return SENSE.PARAMETER_LIST_LENGTH;
    const current = values[code] ?? [...page.initial];
    const wanted = list.subarray(at + 2, at + 2 + length);
    changes.push([code, current.map((byte, i) => merge(byte, wanted[i]!, page.changeable[i]!))]);
    at += 2 + length;
  }
  for (const [code, parameters] of changes) values[code] = parameters;
  return undefined;
}

/** `before` with the bits of `mask` from `wanted`. */
function merge(before: number, wanted: number, mask: number): number {
  return (before & ~mask) | (wanted & mask);
}
