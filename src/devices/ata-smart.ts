/**
 * SMART of a disk that cannot wear out: it can be switched, says that all is well, and counts its hours.
 * ATA/ATAPI-6, 8.52; the attribute table is that of SFF-8035i, which drives and tools still use.
 */
import { copyPlain } from "../common/plain.ts";

/** Features register (8.52). */
const SUBCOMMAND = {
  READ_DATA: 0xd0,
  READ_THRESHOLDS: 0xd1,
  AUTOSAVE: 0xd2,
  SAVE_ATTRIBUTES: 0xd3,
  READ_LOG: 0xd5,
  ENABLE: 0xd8,
  DISABLE: 0xd9,
  RETURN_STATUS: 0xda,
} as const;
/** What LBA Mid and LBA High must hold, and hold after Return Status while no threshold is exceeded. */
const KEY = { MID: 0x4f, HIGH: 0xc2 } as const;
const AUTOSAVE_ON = 0xf1;
const SECTOR = 512;
const HOUR = 3600e9;

/** Bytes of the data sector (8.52.5.6) that are not zero here. */
const DATA = { REVISION: 0, ATTRIBUTES: 2, CAPABILITY: 368, CHECKSUM: 511 } as const;
const REVISION = 0x10;
/** Attributes are saved before a power mode change, and autosave is there. */
const CAPABILITY = 3;
const ATTRIBUTE_SIZE = 12;
/** Attribute flags: failing would be advisory or not, collected on-line. */
const FLAG = { PREFAILURE: 1 << 0, ONLINE: 1 << 1 } as const;
const BEST_VALUE = 100;
/** Log directory: version, then a word of sectors for each log. */
const LOG_DIRECTORY = 0;
const LOG_VERSION = 1;

interface Attribute {
  readonly id: number;
  readonly flags: number;
  readonly threshold: number;
  raw(now: number): number;
}

const ATTRIBUTES: readonly Attribute[] = [
  // Reallocated sectors.
  { id: 5, flags: FLAG.PREFAILURE | FLAG.ONLINE, threshold: 10, raw: () => 0 },
  // Power-on hours.
  { id: 9, flags: FLAG.ONLINE, threshold: 0, raw: (now) => Math.floor(now / HOUR) },
  // Power cycles.
  { id: 12, flags: FLAG.ONLINE, threshold: 0, raw: () => 1 },
];

/** State of SMART. */
export interface AtaSmartState {
  enabled: boolean;
  autosave: boolean;
}

/** Registers that a SMART command uses. */
export interface SmartRegisters {
  readonly features: number;
  readonly count: number;
  readonly lbaLow: number;
  lbaMid: number;
  lbaHigh: number;
}

function seal(sector: Uint8Array): Uint8Array {
  let sum = 0;
  for (let i = 0; i < DATA.CHECKSUM; i++) sum += sector[i]!;
  sector[DATA.CHECKSUM] = -sum & 0xff;
  return sector;
}

function data(now: number): Uint8Array {
  const sector = new Uint8Array(SECTOR);
  sector[DATA.REVISION] = REVISION;
  ATTRIBUTES.forEach(({ id, flags, raw }, i) => {
    const at = DATA.ATTRIBUTES + i * ATTRIBUTE_SIZE;
    sector[at] = id;
    sector[at + 1] = flags;
    // Value and worst value, normalized.
    sector[at + 3] = BEST_VALUE;
    sector[at + 4] = BEST_VALUE;
    const count = raw(now);
    for (let byte = 0; byte < 4; byte++) sector[at + 5 + byte] = (count >>> (8 * byte)) & 0xff;
  });
  sector[DATA.CAPABILITY] = CAPABILITY;
  return seal(sector);
}

function thresholds(): Uint8Array {
  const sector = new Uint8Array(SECTOR);
  sector[DATA.REVISION] = REVISION;
  ATTRIBUTES.forEach(({ id, threshold }, i) => {
    const at = DATA.ATTRIBUTES + i * ATTRIBUTE_SIZE;
    sector[at] = id;
    sector[at + 1] = threshold;
  });
  return seal(sector);
}

/** The log directory: there is no other log. */
function directory(): Uint8Array {
  const sector = new Uint8Array(SECTOR);
  sector[0] = LOG_VERSION;
  return sector;
}

export class AtaSmart {
  private s: AtaSmartState = { enabled: true, autosave: true };

  get enabled(): boolean {
    return this.s.enabled;
  }

  /** Execute the subcommand in `registers` at guest time `now`: a sector to read, "done" or "abort". */
  execute(registers: SmartRegisters, now: number): Uint8Array | "done" | "abort" {
    const { s } = this;
    const { features } = registers;
    if (registers.lbaMid !== KEY.MID || registers.lbaHigh !== KEY.HIGH) return "abort";
    if (!s.enabled && features !== SUBCOMMAND.ENABLE) return "abort";
    switch (features) {
      case SUBCOMMAND.ENABLE:
      case SUBCOMMAND.DISABLE:
        s.enabled = features === SUBCOMMAND.ENABLE;
        return "done";
      case SUBCOMMAND.AUTOSAVE:
        if (registers.count !== 0 && registers.count !== AUTOSAVE_ON) return "abort";
        s.autosave = registers.count === AUTOSAVE_ON;
        return "done";
      case SUBCOMMAND.SAVE_ATTRIBUTES:
      case SUBCOMMAND.RETURN_STATUS:
        // No threshold is exceeded: the key stays as it is.
        return "done";
      case SUBCOMMAND.READ_DATA:
        return data(now);
      case SUBCOMMAND.READ_THRESHOLDS:
        return thresholds();
      case SUBCOMMAND.READ_LOG:
        return registers.lbaLow === LOG_DIRECTORY && registers.count === 1 ? directory() : "abort";
      default:
        return "abort";
    }
  }

  reset(): void {
    this.s = { enabled: true, autosave: true };
  }

  state(): AtaSmartState {
    return copyPlain(this.s);
  }

  restore(state: AtaSmartState): void {
    this.s = copyPlain(state);
  }
}
