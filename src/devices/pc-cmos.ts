/** What the setup program of a PC leaves in CMOS RAM. Layout: IBM AT TR 1-56; later fields: Ralf Brown's CMOS.LST. */
import type { Disk, FloppyDrive, IdeUnit } from "../hypervisor/backend.ts";

/** CMOS locations, as far as they are filled in here or belong to firmware's contract with it. */
export const CMOS = {
  DIAGNOSTICS: 0x0e,
  /** Shutdown status: how firmware continues after a reset of the processor alone. */
  SHUTDOWN: 0x0f,
  FLOPPIES: 0x10,
  DISKS: 0x12,
  EQUIPMENT: 0x14,
  BASE_KB: 0x15,
  EXTENDED_KB: 0x17,
  DISK_0_TYPE: 0x19,
  DISK_1_TYPE: 0x1a,
  DISK_0: 0x1b,
  DISK_1: 0x24,
  CHECKSUM: 0x2e,
  /** Extended memory as firmware found it. */
  FOUND_KB: 0x30,
  /** Memory above 16 MB in units of 64 KB. */
  HIGH_64KB: 0x34,
  /** Third boot device in the high nibble. */
  BOOT_3: 0x38,
  /** Two bits a disk: 1 when its CHS geometry does not reach its end. */
  TRANSLATION: 0x39,
  /** First boot device in the low nibble, second in the high one. */
  BOOT_1_2: 0x3d,
} as const;

/** Where to boot from. */
export type BootDevice = "floppy" | "disk" | "cdrom" | "network";

/** Numbers of the boot devices in CMOS. */
const BOOT_CODES: Readonly<Record<BootDevice, number>> = { floppy: 1, disk: 2, cdrom: 3, network: 4 };

const KB = 1024;
const MB = 1024 * KB;
const CONVENTIONAL_KB = 640;
/** Drive type of an empty drive: 1.44 MB. */
const EMPTY_DRIVE = 4;
/** A disk of a type above 14, and the type whose geometry stands in CMOS. */
const EXTENDED_TYPE = 15;
const USER_TYPE = 47;
/** Equipment byte: floppies present, FPU, pointing device; number of floppies minus one from bit 6. */
const EQUIPMENT = { FLOPPY: 1 << 0, FPU: 1 << 1, MOUSE: 1 << 2, FLOPPY_COUNT_SHIFT: 6 } as const;
/** Control byte of a drive: more than eight heads, no retries. */
const CONTROL = { HEADS: 1 << 3, NO_RETRIES: 3 << 6 } as const;
const NO_PRECOMPENSATION = 0xffff;
const CHECKSUM_FIRST = 0x10;
const CHECKSUM_LAST = 0x2d;
const CHS_CYLINDERS = 1024;

/** What there is to describe. */
export interface CmosContents {
  /** RAM in bytes. */
  readonly memory: number;
  readonly floppies: readonly FloppyDrive[];
  readonly units: readonly (IdeUnit | undefined)[];
  readonly bootOrder: readonly BootDevice[];
}

/** CMOS RAM as a PC sees it here. */
export interface CmosRam {
  getCmos(index: number): number;
  setCmos(index: number, value: number): void;
}

function setWord(ram: CmosRam, index: number, value: number): void {
  ram.setCmos(index, value & 0xff);
  ram.setCmos(index + 1, (value >> 8) & 0xff);
}

function describeDisk(ram: CmosRam, index: number, disk: Disk): void {
  const { cylinders, heads, sectors } = disk.geometry;
  setWord(ram, index, cylinders);
  ram.setCmos(index + 2, heads);
  setWord(ram, index + 3, NO_PRECOMPENSATION);
  ram.setCmos(index + 5, CONTROL.NO_RETRIES | (heads > 8 ? CONTROL.HEADS : 0));
  setWord(ram, index + 6, cylinders);
  ram.setCmos(index + 8, sectors);
}

/** Fill in memory sizes, drives, equipment, boot order and the checksum. */
export function fillCmos(ram: CmosRam, contents: CmosContents): void {
  const { memory, floppies, bootOrder } = contents;
  const disks = contents.units.map((unit) => (unit?.kind === "disk" ? unit : undefined));
  const extendedKb = Math.max(0, Math.min(0xffff, Math.floor((memory - MB) / KB)));
  const high = Math.max(0, Math.min(0xffff, Math.floor((memory - 16 * MB) / (64 * KB))));
  setWord(ram, CMOS.BASE_KB, Math.min(CONVENTIONAL_KB, Math.floor(memory / KB)));
  setWord(ram, CMOS.EXTENDED_KB, extendedKb);
  setWord(ram, CMOS.FOUND_KB, extendedKb);
  setWord(ram, CMOS.HIGH_64KB, high);

  const driveType = (unit: number): number =>
    (floppies[unit] && (floppies[unit].medium?.driveType ?? EMPTY_DRIVE)) ?? 0;
  ram.setCmos(CMOS.FLOPPIES, (driveType(0) << 4) | driveType(1));
  const [disk0, disk1] = disks;
  ram.setCmos(CMOS.DISKS, (disk0 ? EXTENDED_TYPE << 4 : 0) | (disk1 ? EXTENDED_TYPE : 0));
  ram.setCmos(CMOS.DISK_0_TYPE, disk0 ? USER_TYPE : 0);
  ram.setCmos(CMOS.DISK_1_TYPE, disk1 ? USER_TYPE : 0);
  if (disk0) describeDisk(ram, CMOS.DISK_0, disk0);
  if (disk1) describeDisk(ram, CMOS.DISK_1, disk1);
  const translated = (disk: Disk | undefined): number => (disk && disk.geometry.cylinders > CHS_CYLINDERS ? 1 : 0);
  ram.setCmos(
    CMOS.TRANSLATION,
    disks.slice(0, 4).reduce((bits, disk, unit) => bits | (translated(disk) << (2 * unit)), 0),
  );

  const count = Math.min(floppies.length, 4);
  const floppyBits = count > 0 ? EQUIPMENT.FLOPPY | ((count - 1) << EQUIPMENT.FLOPPY_COUNT_SHIFT) : 0;
  ram.setCmos(CMOS.EQUIPMENT, floppyBits | EQUIPMENT.FPU | EQUIPMENT.MOUSE);

  const boot = (place: number): number => {
    const device = bootOrder[place];
    return device === undefined ? 0 : BOOT_CODES[device];
  };
  ram.setCmos(CMOS.BOOT_1_2, boot(0) | (boot(1) << 4));
  ram.setCmos(CMOS.BOOT_3, boot(2) << 4);

  let sum = 0;
  for (let index = CHECKSUM_FIRST; index <= CHECKSUM_LAST; index++) sum += ram.getCmos(index);
  // The checksum alone has its high byte first.
  ram.setCmos(CMOS.CHECKSUM, (sum >> 8) & 0xff);
  ram.setCmos(CMOS.CHECKSUM + 1, sum & 0xff);
}
