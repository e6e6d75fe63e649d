/** Builds the ROM image: assembles the stubs, lays the tables at their historical places, sets the checksum. */
import { assemble } from "../assembler.ts";
import { FIRMWARE_PORT } from "../service.ts";
import { checksum } from "../tables/byte-writer.ts";
import { BDA, EBDA, ENTRY, PORT, ROM } from "./layout.ts";
import { BAUD_DIVISORS } from "./ports.ts";
import { ROM_SOURCE } from "./stubs.ts";

const BDA_BASE = 0x400;
const CODE_BASE = 0xd000;
const MODEL_AT = 0xfc;
const SUBMODEL = 0x01;
const TICKS_PER_DAY = 0x1800b0;
const FILL = 0xff;

/**
 * INT 15h/C0h features 1: second 8259, real-time clock, INT 9 calls INT 15h/4Fh, extended data area.
 * Features 2: INT 16h/09h.
 */
const FEATURES_1 = 0x74;
const FEATURES_2 = 0x40;

/** Diskette parameter table of a 1.44 MB drive (IBM PS/2 BIOS reference, INT 1Eh). */
const FLOPPY_TABLE = [0xaf, 0x02, 0x25, 0x02, 0x12, 0x1b, 0xff, 0x6c, 0xf6, 0x0f, 0x08];

/** CRTC values of the CGA's and MDA's modes (IBM PC technical reference, INT 1Dh). */
const VIDEO_TABLE = [
  [0x38, 0x28, 0x2d, 0x0a, 0x1f, 0x06, 0x19, 0x1c, 0x02, 0x07, 0x06, 0x07, 0, 0, 0, 0],
  [0x71, 0x50, 0x5a, 0x0a, 0x1f, 0x06, 0x19, 0x1c, 0x02, 0x07, 0x06, 0x07, 0, 0, 0, 0],
  [0x38, 0x28, 0x2d, 0x0a, 0x7f, 0x06, 0x64, 0x70, 0x02, 0x01, 0x06, 0x07, 0, 0, 0, 0],
  [0x61, 0x50, 0x52, 0x0f, 0x19, 0x06, 0x19, 0x19, 0x02, 0x0d, 0x0b, 0x0c, 0, 0, 0, 0],
  // Page lengths 2, 4, 16 and 16 KB; columns and mode register of modes 0–7.
  [0x00, 0x08, 0x00, 0x10, 0x00, 0x40, 0x00, 0x40],
  [0x28, 0x28, 0x50, 0x50, 0x28, 0x28, 0x50, 0x50],
  [0x2c, 0x28, 0x2d, 0x29, 0x2a, 0x2e, 0x1e, 0x29],
].flat();

/** BIOS32 service directory: its length, and where its checksum stands. */
const BIOS32 = { LENGTH: 16, CHECKSUM: 10 } as const;
/** Installation check structure: its length, where its checksum stands, and what functions give that are not there. */
const PLUG_AND_PLAY = { LENGTH: 0x21, CHECKSUM: 8, UNSUPPORTED: 0x82 } as const;

const NO_PRECOMPENSATION = 0xffff;

/** IBM PC/AT disk types 1–14: cylinders, heads, write precompensation, landing zone; 17 sectors each. */
const DISK_TYPES: readonly (readonly [number, number, number, number])[] = [
  [306, 4, 128, 305],
  [615, 4, 300, 615],
  [615, 6, 300, 615],
  [940, 8, 512, 940],
  [940, 6, 512, 940],
  [615, 4, NO_PRECOMPENSATION, 615],
  [462, 8, 256, 511],
  [733, 5, NO_PRECOMPENSATION, 733],
  [900, 15, NO_PRECOMPENSATION, 901],
  [820, 3, NO_PRECOMPENSATION, 820],
  [855, 5, NO_PRECOMPENSATION, 855],
  [855, 7, NO_PRECOMPENSATION, 855],
  [306, 8, 128, 319],
  [733, 7, NO_PRECOMPENSATION, 733],
];
const DISK_TYPE_SECTORS = 17;

const word = (value: number): number[] => [value & 0xff, value >> 8];

function diskTables(): number[] {
  return DISK_TYPES.flatMap(([cylinders, heads, precompensation, landing]) => [
    ...word(cylinders),
    heads,
    0,
    0,
    ...word(precompensation),
    0,
    heads > 8 ? 0x08 : 0,
    0,
    0,
    0,
    ...word(landing),
    DISK_TYPE_SECTORS,
    0,
  ]);
}

/** Offsets of the handlers of INT 08h–1Fh and 70h–77h, by vector: label or fixed entry. */
export const VECTORS: readonly (readonly [vector: number, target: string | number])[] = [
  [0x02, ENTRY.NMI],
  [0x05, ENTRY.INT05],
  [0x08, ENTRY.INT08],
  [0x09, ENTRY.INT09],
  [0x0a, "unexpected_irq"],
  [0x0b, "unexpected_irq"],
  [0x0c, "unexpected_irq"],
  [0x0d, "unexpected_irq"],
  [0x0e, ENTRY.INT0E],
  [0x0f, "unexpected_irq"],
  [0x10, ENTRY.INT10],
  [0x11, ENTRY.INT11],
  [0x12, ENTRY.INT12],
  [0x13, ENTRY.INT13],
  [0x14, ENTRY.INT14],
  [0x15, ENTRY.INT15],
  [0x16, ENTRY.INT16],
  [0x17, ENTRY.INT17],
  [0x18, "boot_failed"],
  [0x19, ENTRY.INT19],
  [0x1a, ENTRY.INT1A],
  [0x1b, ENTRY.IRET],
  [0x1c, ENTRY.IRET],
  [0x1d, ENTRY.VIDEO_TABLE],
  [0x1e, ENTRY.FLOPPY_TABLE],
  [0x40, ENTRY.INT13_FLOPPY],
  [0x42, ENTRY.INT10],
  [0x4a, ENTRY.IRET],
  [0x70, "clock_irq"],
  [0x71, "irq9"],
  [0x72, "unexpected_irq"],
  [0x73, "unexpected_irq"],
  [0x74, "mouse_irq"],
  [0x75, "fpu_irq"],
  [0x76, "disk_irq"],
  [0x77, "unexpected_irq"],
];

export interface RomImage {
  readonly image: Uint8Array;
  /** Offset of a label of the stubs. Throws when there is none: the ROM is wrong. */
  label(name: string): number;
  /** Offset of the byte after each trap, by the service's name. */
  readonly traps: ReadonlyMap<string, number>;
}

function symbols(): Record<string, number> {
  const all: Record<string, number> = {
    BDA_BASE,
    CODE_BASE,
    TICKS_PER_DAY,
    END_OF_INTERRUPT: 0x20,
    READ_IN_SERVICE: 0x0b,
    PRINT_STATUS: BDA.PRINT_SCREEN_STATUS - BDA_BASE,
    MODEL: MODEL_AT,
    ROM_SEGMENT: ROM.SEGMENT,
    ROM_BASE: ROM.BASE,
    PNP_LENGTH: PLUG_AND_PLAY.LENGTH,
    PNP_UNSUPPORTED: PLUG_AND_PLAY.UNSUPPORTED,
  };
  for (const [name, address] of Object.entries(BDA)) all[`bda_${name.toLowerCase()}`] = address - BDA_BASE;
  for (const [name, offset] of Object.entries(EBDA)) all[`ebda_${name.toLowerCase()}`] = offset;
  for (const [name, port] of Object.entries(PORT)) all[`port_${name.toLowerCase()}`] = port;
  for (const [name, offset] of Object.entries(ENTRY)) all[`entry_${name.toLowerCase()}`] = offset;
  return all;
}

const TRAP_LABEL = "after_trap_";

/** Assemble the ROM. `font` is the 8×8 font's first 128 characters, 1024 bytes. */
export function buildImage(font: Uint8Array): RomImage {
  const source = ROM_SOURCE.replace(/^\s*trap (\w+).*$/gm, `out ${FIRMWARE_PORT}, al\n${TRAP_LABEL}$1:`);
  const { code, labels } = assemble(source, { symbols: symbols(), fill: FILL });
  const label = (name: string): number => {
    const offset = labels.get(name);
    if (offset === undefined) throw new Error(`the ROM has no label ${name}`);
    return offset;
  };
  const image = new Uint8Array(ROM.SIZE).fill(FILL);
  image.set(code);
  image.set(diskTables(), ENTRY.DISK_TABLES);
  image.set([8, 0, MODEL_AT, SUBMODEL, 0, FEATURES_1, FEATURES_2, 0, 0, 0], ENTRY.CONFIGURATION);
  image.set(BAUD_DIVISORS.flatMap(word), ENTRY.BAUD_TABLE);
  image.set(FLOPPY_TABLE, ENTRY.FLOPPY_TABLE);
  image.set(VIDEO_TABLE, ENTRY.VIDEO_TABLE);
  image.set(font, ENTRY.FONT);
  const offsets = new Map(VECTORS.map(([v, target]) => [v, typeof target === "number" ? target : label(target)]));
  for (let vector = 0x08; vector <= 0x1f; vector++) {
    image.set(word(offsets.get(vector) ?? 0), ENTRY.VECTORS + (vector - 0x08) * 2);
  }
  for (let vector = 0x70; vector <= 0x77; vector++) {
    image.set(word(offsets.get(vector) ?? 0), ENTRY.VECTORS + (0x18 + vector - 0x70) * 2);
  }
  const pnp = label("plug_and_play");
  image[pnp + PLUG_AND_PLAY.CHECKSUM] = checksum(image.subarray(pnp, pnp + PLUG_AND_PLAY.LENGTH));
  const bios32 = label("bios32_directory");
  image[bios32 + BIOS32.CHECKSUM] = checksum(image.subarray(bios32, bios32 + BIOS32.LENGTH));
  image[ENTRY.CHECKSUM] = 0;
  image[ENTRY.CHECKSUM] = checksum(image);
  const traps = new Map<string, number>();
  for (const [name, offset] of labels) {
    if (name.startsWith(TRAP_LABEL)) traps.set(name.slice(TRAP_LABEL.length), offset);
  }
  return { image, label, traps };
}
