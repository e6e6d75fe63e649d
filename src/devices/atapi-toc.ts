/** What a disc tells of itself: its table of contents in every format, disc and track information. MMC-5 6.26–6.30. */
import type { CdMedium, CdTrack } from "../hypervisor/backend.ts";
import { CD_MAX_SECTORS, CD_SECTOR } from "./atapi-commands.ts";
import { msf } from "./cd-sector.ts";

/** ADR 1 (position), control 4 (data track, copying not permitted is off). */
const DATA_TRACK = 0x14;
const LEAD_OUT = 0xaa;
/** Frames between the last sector of one session and the first of the next: lead-out, lead-in and pregap (ECMA-130, Orange Book). */
const FIRST_GAP = 6750 + 4500 + 150;
const LATER_GAP = 2250 + 4500 + 150;
/** Points of the lead-in's subcode (READ TOC format 2). */
const POINT = { FIRST_TRACK: 0xa0, LAST_TRACK: 0xa1, LEAD_OUT: 0xa2 } as const;

const SINGLE: readonly CdTrack[] = [{ session: 1, start: 0 }];

/** A disc's layout, with all ends computed. */
export interface DiscLayout {
  readonly tracks: readonly CdTrack[];
  readonly sectors: number;
  readonly sessions: number;
}

export function sectorsOf(medium: CdMedium): number {
  return Math.floor(medium.backend.size / CD_SECTOR);
}

export function isDvd(medium: CdMedium): boolean {
  return sectorsOf(medium) > CD_MAX_SECTORS;
}

export function layoutOf(medium: CdMedium): DiscLayout {
  const tracks = medium.tracks ?? SINGLE;
  return { tracks, sectors: sectorsOf(medium), sessions: tracks.at(-1)?.session ?? 1 };
}

/** End of track `index` (from 0): where the next one begins, or the lead-out of its session. */
function trackEnd({ tracks, sectors }: DiscLayout, index: number): number {
  const track = tracks[index]!;
  const next = tracks[index + 1];
  if (next === undefined) return sectors;
  if (next.session === track.session) return next.start;
  return next.start - (track.session === 1 ? FIRST_GAP : LATER_GAP);
}

/** Lead-out of a session. */
function leadOut(layout: DiscLayout, session: number): number {
  const last = layout.tracks.findLastIndex((track) => track.session === session);
  return last < 0 ? layout.sectors : trackEnd(layout, last);
}

/** Four bytes: an address, as minutes, seconds and frames if wanted. */
function address(lba: number, inMsf: boolean): number[] {
  if (inMsf) return [0, ...msf(lba)];
  return [(lba >>> 24) & 0xff, (lba >>> 16) & 0xff, (lba >>> 8) & 0xff, lba & 0xff];
}

/** `body` behind a 16-bit length that counts what follows it. */
function withLength(body: readonly number[]): Uint8Array {
  return Uint8Array.from([body.length >> 8, body.length & 0xff, ...body]);
}

/** Format 0: tracks from `first` on, and the lead-out. */
function tableOfContents(layout: DiscLayout, first: number, inMsf: boolean): Uint8Array | undefined {
  const { tracks, sectors } = layout;
  if (first > tracks.length && first !== LEAD_OUT) return undefined;
  const body = [1, tracks.length];
  tracks.forEach(({ start }, index) => {
    if (index + 1 >= first) body.push(0, DATA_TRACK, index + 1, 0, ...address(start, inMsf));
  });
  body.push(0, DATA_TRACK, LEAD_OUT, 0, ...address(sectors, inMsf));
  return withLength(body);
}

/** Format 1: the first and last session, and the first track of the last one. */
function sessionInfo({ tracks, sessions }: DiscLayout, inMsf: boolean): Uint8Array {
  const index = tracks.findIndex(({ session }) => session === sessions);
  return withLength([1, sessions, 0, DATA_TRACK, index + 1, 0, ...address(tracks[index]?.start ?? 0, inMsf)]);
}

/** Format 2: the subcode of the lead-ins, sessions from `first` on. Positions are always minutes, seconds and frames. */
function rawToc(layout: DiscLayout, first: number): Uint8Array {
  const { tracks, sessions } = layout;
  const body = [1, sessions];
  const entry = (session: number, point: number, position: readonly number[]): void => {
    body.push(session, DATA_TRACK, 0, point, 0, 0, 0, 0, ...position);
  };
  for (let session = Math.max(1, first); session <= sessions; session++) {
    const numbers = tracks.flatMap((track, index) => (track.session === session ? [index + 1] : []));
    entry(session, POINT.FIRST_TRACK, [numbers[0] ?? 0, 0, 0]);
    entry(session, POINT.LAST_TRACK, [numbers.at(-1) ?? 0, 0, 0]);
    entry(session, POINT.LEAD_OUT, msf(leadOut(layout, session)));
    for (const number of numbers) entry(session, number, msf(tracks[number - 1]!.start));
  }
  return withLength(body);
}

/** READ TOC/PMA/ATIP; undefined for a format that is not there, or a track or session that is not. */
export function readToc(layout: DiscLayout, format: number, first: number, inMsf: boolean): Uint8Array | undefined {
  switch (format) {
    case 0:
      return tableOfContents(layout, first, inMsf);
    case 1:
      return sessionInfo(layout, inMsf);
    case 2:
      return first > layout.sessions ? undefined : rawToc(layout, first);
    default:
      return undefined;
  }
}

/** Disc status: complete, last session complete (6.22.3.1). */
const DISC_COMPLETE = 0x0e;

/** READ DISC INFORMATION: a disc that is finished. */
export function discInformation({ tracks, sessions }: DiscLayout): Uint8Array {
  const firstOfLast = tracks.findIndex(({ session }) => session === sessions) + 1;
  const body = new Array<number>(32).fill(0);
  body[0] = DISC_COMPLETE;
  body[1] = 1;
  body[2] = sessions & 0xff;
  body[3] = firstOfLast & 0xff;
  body[4] = tracks.length & 0xff;
  // No unrestricted use, no bar code; lead-in and lead-out of a next session do not exist.
  body.fill(0xff, 14, 22);
  return withLength(body);
}

/** How READ TRACK INFORMATION names a track (6.27.2.2). */
const BY = { ADDRESS: 0, TRACK: 1, SESSION: 2 } as const;
const MODE_1_DATA = 1;

/** READ TRACK INFORMATION of the track that `number` names in the way of `kind`; undefined when there is none. */
export function trackInformation(layout: DiscLayout, kind: number, number: number): Uint8Array | undefined {
  const { tracks, sectors } = layout;
  let index = -1;
  if (kind === BY.ADDRESS && number < sectors) index = tracks.findLastIndex(({ start }) => start <= number);
  else if (kind === BY.TRACK && number >= 1 && number <= tracks.length) index = number - 1;
  else if (kind === BY.SESSION) index = tracks.findIndex(({ session }) => session === number);
  const track = tracks[index];
  if (track === undefined) return undefined;
  const body = new Array<number>(34).fill(0);
  body[0] = (index + 1) & 0xff;
  body[1] = track.session & 0xff;
  body[3] = DATA_TRACK & 0x0f;
  body[4] = MODE_1_DATA;
  body.splice(6, 4, ...address(track.start, false));
  body.splice(22, 4, ...address(trackEnd(layout, index) - track.start, false));
  return withLength(body);
}
