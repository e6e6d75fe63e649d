/** What a drive can do, as GET CONFIGURATION lists it, and what READ DVD STRUCTURE tells of a disc. MMC-5 5, 6.6, 6.23. */

/** Profiles (5.2.2). */
export const PROFILE = { NONE: 0x0000, CD_ROM: 0x0008, DVD_ROM: 0x0010 } as const;
const PROFILES = [PROFILE.DVD_ROM, PROFILE.CD_ROM] as const;

/** Which features the request wants (6.6.2.1). */
const REQUEST = { ALL: 0, CURRENT: 1, ONE: 2 } as const;
const CURRENT = 1 << 0;
const PERSISTENT = 1 << 1;
const HEADER = 8;

interface Feature {
  readonly code: number;
  readonly version: number;
  readonly persistent: boolean;
  /** Profiles in which the feature is current; always when absent. */
  readonly profiles?: readonly number[];
  readonly data: readonly number[];
}

const ANY_DISC = [PROFILE.CD_ROM, PROFILE.DVD_ROM] as const;
/** Core: the interface is ATAPI. */
const ATAPI = [0, 0, 0, 2] as const;

const FEATURES: readonly Feature[] = [
  { code: 0x0001, version: 2, persistent: true, data: [...ATAPI, 0, 0, 0, 0] },
  // Morphing: events are polled, operational changes are told.
  { code: 0x0002, version: 1, persistent: true, data: [2, 0, 0, 0] },
  // Removable medium: a tray that can be locked and ejected.
  { code: 0x0003, version: 0, persistent: true, data: [0x29, 0, 0, 0] },
  // Random readable: blocks of 2048 bytes, error recovery page.
  { code: 0x0010, version: 0, persistent: false, profiles: ANY_DISC, data: [0, 0, 8, 0, 0, 16, 1, 0] },
  { code: 0x001d, version: 0, persistent: false, profiles: ANY_DISC, data: [] },
  { code: 0x001e, version: 2, persistent: false, profiles: [PROFILE.CD_ROM], data: [0, 0, 0, 0] },
  { code: 0x001f, version: 1, persistent: false, profiles: [PROFILE.DVD_ROM], data: [0, 0, 0, 0] },
  // Power management, time-outs.
  { code: 0x0100, version: 0, persistent: true, data: [] },
  { code: 0x0105, version: 0, persistent: true, data: [] },
];

function descriptor(code: number, version: number, persistent: boolean, current: boolean, data: readonly number[]) {
  const flags = (version << 2) | (persistent ? PERSISTENT : 0) | (current ? CURRENT : 0);
  return [code >> 8, code & 0xff, flags, data.length, ...data];
}

/** GET CONFIGURATION from feature `first` on, for a drive whose disc has `profile`; undefined for an unknown request. */
export function configuration(profile: number, request: number, first: number): Uint8Array | undefined {
  if (request > REQUEST.ONE) return undefined;
  const body: number[] = [];
  const wanted = (code: number, current: boolean): boolean =>
    request === REQUEST.ONE ? code === first : code >= first && (request === REQUEST.ALL || current);
  if (wanted(0, true)) {
    const list = PROFILES.flatMap((known) => [known >> 8, known & 0xff, known === profile ? CURRENT : 0, 0]);
    body.push(...descriptor(0, 0, true, true, list));
  }
  for (const { code, version, persistent, profiles, data } of FEATURES) {
    const current = profiles === undefined || profiles.includes(profile);
    if (wanted(code, current)) body.push(...descriptor(code, version, persistent, current, data));
  }
  const length = HEADER - 4 + body.length;
  return Uint8Array.from([0, 0, length >> 8, length & 0xff, 0, 0, profile >> 8, profile & 0xff, ...body]);
}

/** Formats of READ DVD STRUCTURE. */
const STRUCTURE = { PHYSICAL: 0x00, COPYRIGHT: 0x01, MANUFACTURER: 0x04, LIST: 0xff } as const;
const LAYER_BYTES = 2048;
/** Where the data of a DVD begin. */
const DATA_START = 0x03_0000;

/** Three bytes of a sector number in a field of four. */
const sectorNumber = (value: number): number[] => [0, (value >> 16) & 0xff, (value >> 8) & 0xff, value & 0xff];

function structureData(format: number, sectors: number): number[] | undefined {
  switch (format) {
    case STRUCTURE.PHYSICAL: {
      // Part version 1, 120 mm, maximum rate not specified; one layer with embossed data.
      const layer = [0x01, 0x0f, 0x01, 0x00];
      const numbers = [...sectorNumber(DATA_START), ...sectorNumber(DATA_START + sectors - 1), ...sectorNumber(0)];
      const data = [...layer, ...numbers];
      return [...data, ...new Array<number>(LAYER_BYTES - data.length).fill(0)];
    }
    case STRUCTURE.COPYRIGHT:
      // Not scrambled, every region.
      return [0, 0, 0, 0];
    case STRUCTURE.MANUFACTURER:
      return new Array<number>(LAYER_BYTES).fill(0);
    case STRUCTURE.LIST: {
      const readable = 1 << 6;
      return [STRUCTURE.PHYSICAL, STRUCTURE.COPYRIGHT, STRUCTURE.MANUFACTURER].flatMap((known) => {
        const length = 4 + structureData(known, sectors)!.length;
        return [known, readable, length >> 8, length & 0xff];
      });
    }
    default:
      return undefined;
  }
}

/** READ DVD STRUCTURE of a disc with `sectors` sectors; undefined for a format that is not there. */
export function dvdStructure(format: number, sectors: number): Uint8Array | undefined {
  const data = structureData(format, sectors);
  if (data === undefined) return undefined;
  const length = data.length + 2;
  return Uint8Array.from([length >> 8, length & 0xff, 0, 0, ...data]);
}
