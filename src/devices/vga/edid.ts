/** What the monitor tells of itself: one block of VESA's Extended Display Identification Data, version 1.4. */

const BLOCK_SIZE = 128;
const HEADER = [0x00, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x00] as const;
/** Offsets in the block (EDID 1.4, table 3.1). */
const AT = {
  MANUFACTURER: 8,
  PRODUCT: 10,
  WEEK: 16,
  YEAR: 17,
  VERSION: 18,
  REVISION: 19,
  INPUT: 20,
  WIDTH_CM: 21,
  HEIGHT_CM: 22,
  GAMMA: 23,
  FEATURES: 24,
  CHROMATICITY: 25,
  ESTABLISHED: 35,
  STANDARD: 38,
  DETAILED: 54,
  CHECKSUM: 127,
} as const;
const DESCRIPTOR_SIZE = 18;
const LETTER_BITS = 5;
const MANUFACTURER = "VMX";
const PRODUCT = 1;
const FIRST_YEAR = 1990;
/** Digital, eight bits a colour, interface undefined. */
const DIGITAL_8 = 0xa0;
/** Gamma 2.2, less one, in hundredths. */
const GAMMA_22 = 120;
/** sRGB is the colour space; the preferred timing is the native one. */
const FEATURES = 0x06;
/** sRGB's primaries and white, ten bits each (EDID 1.4, 3.7). */
const SRGB = [0xee, 0x91, 0xa3, 0x54, 0x4c, 0x99, 0x26, 0x0f, 0x50, 0x54] as const;
/** 640 × 480, 800 × 600 and 1024 × 768, at 60 Hz. */
const ESTABLISHED = [0x21, 0x08, 0x00] as const;
/** Aspect ratios of standard timings, in bits 7–6. */
const ASPECT = { "16:10": 0, "4:3": 1, "5:4": 2, "16:9": 3 } as const;
/** Widths and ratios, all at 60 Hz. */
const STANDARD: readonly (readonly [number, keyof typeof ASPECT])[] = [
  [1280, "16:9"],
  [1280, "16:10"],
  [1280, "5:4"],
  [1440, "16:10"],
  [1600, "4:3"],
  [1680, "16:10"],
  [1920, "16:9"],
  [1920, "16:10"],
];
/** Tags of descriptors that are no timings. */
const TAG = { NAME: 0xfc, RANGE: 0xfd, SERIAL: 0xff } as const;
const TEXT_LENGTH = 13;
const LINE_FEED = 0x0a;

/** The preferred mode: VESA's 1024 × 768 at 60 Hz (DMT 10h); pixel clock in 10 kHz, the rest in pixels and lines. */
const PREFERRED = {
  clock: 6500,
  width: 1024,
  widthBlank: 320,
  frontPorch: 24,
  sync: 136,
  height: 768,
  heightBlank: 38,
  frontLines: 3,
  syncLines: 6,
  widthMm: 270,
  heightMm: 203,
} as const;
/** Separate syncs, both negative. */
const SYNC_FLAGS = 0x18;

function detailedTiming(): number[] {
  const p = PREFERRED;
  const low = (value: number): number => value & 0xff;
  const high = (value: number): number => (value >> 8) & 0x0f;
  return [
    low(p.clock),
    p.clock >> 8,
    low(p.width),
    low(p.widthBlank),
    (high(p.width) << 4) | high(p.widthBlank),
    low(p.height),
    low(p.heightBlank),
    (high(p.height) << 4) | high(p.heightBlank),
    low(p.frontPorch),
    low(p.sync),
    (p.frontLines << 4) | p.syncLines,
    0,
    low(p.widthMm),
    low(p.heightMm),
    (high(p.widthMm) << 4) | high(p.heightMm),
    0,
    0,
    SYNC_FLAGS,
  ];
}

function textDescriptor(tag: number, text: string): number[] {
  const letters = [...text.slice(0, TEXT_LENGTH)].map((letter) => letter.charCodeAt(0));
  if (letters.length < TEXT_LENGTH) letters.push(LINE_FEED);
  while (letters.length < TEXT_LENGTH) letters.push(0x20);
  return [0, 0, 0, tag, 0, ...letters];
}

/** Lines and rows in Hz and kHz that a monitor that shows everything takes, and a pixel clock in 10 MHz. */
function rangeDescriptor(): number[] {
  return [0, 0, 0, TAG.RANGE, 0, 40, 125, 15, 160, 30, 1, LINE_FEED, ...new Array<number>(6).fill(0x20)];
}

/** The block. */
export function edid(): Uint8Array {
  const block = new Uint8Array(BLOCK_SIZE);
  block.set(HEADER);
  const letters = [...MANUFACTURER].reduce((id, letter) => (id << LETTER_BITS) | (letter.charCodeAt(0) - 0x40), 0);
  block.set([letters >> 8, letters & 0xff], AT.MANUFACTURER);
  block[AT.PRODUCT] = PRODUCT;
  block[AT.WEEK] = 1;
  block[AT.YEAR] = 2026 - FIRST_YEAR;
  block[AT.VERSION] = 1;
  block[AT.REVISION] = 4;
  block[AT.INPUT] = DIGITAL_8;
  block[AT.WIDTH_CM] = Math.round(PREFERRED.widthMm / 10);
  block[AT.HEIGHT_CM] = Math.round(PREFERRED.heightMm / 10);
  block[AT.GAMMA] = GAMMA_22;
  block[AT.FEATURES] = FEATURES;
  block.set(SRGB, AT.CHROMATICITY);
  block.set(ESTABLISHED, AT.ESTABLISHED);
  STANDARD.forEach(([width, aspect], i) => {
    block.set([width / 8 - 31, ASPECT[aspect] << 6], AT.STANDARD + i * 2);
  });
  [
    detailedTiming(),
    rangeDescriptor(),
    textDescriptor(TAG.NAME, "vmxon display"),
    textDescriptor(TAG.SERIAL, "1"),
  ].forEach((descriptor, i) => {
    block.set(descriptor, AT.DETAILED + i * DESCRIPTOR_SIZE);
  });
  block[AT.CHECKSUM] = -block.reduce((sum, byte) => sum + byte, 0);
  return block;
}
