/**
 * 82441FX host bridge: which parts of C0000h–FFFFFh are DRAM or ROM (PAM), the SMRAM window, and what the chip tells of
 * memory. Intel 290549, section 3.2; timing and error registers keep what is written and mean nothing here.
 */
import type { ShadowControl, Stateful } from "../../hypervisor/device.ts";
import { PCI_PLACE } from "../pc-layout.ts";
import type { PciBus } from "./pci-bus.ts";
import {
  type ConfigRegister,
  PCI_COMMAND,
  PCI_STATUS,
  type PciFunction,
  type PciFunctionOptions,
  type PciFunctionState,
} from "./pci-function.ts";

const REG = { PAM: 0x59, DRB: 0x60, SMRAM: 0x72 } as const;
/** Attributes of a segment (3.2.18): reads go to DRAM; writes do. */
const PAM = { READ: 1 << 0, WRITE: 1 << 1, WRITABLE: 0x77, WRITABLE_0: 0x70 } as const;
/** SMRAM control (3.2.27). */
const SMRAM = { BASE: 0x02, ENABLE: 1 << 3, LOCK: 1 << 4, CLOSED: 1 << 5, OPEN: 1 << 6 } as const;
const LOCKED = SMRAM.OPEN | SMRAM.LOCK | SMRAM.ENABLE;
const ROWS = 8;
/** DRB registers count in units of 8 MB. */
const ROW_UNIT = 8 << 20;
const LARGEST_ROW = 32;

/** Segments by half register from PAM0's upper half on: F0000h is 64 KB, those from C0000h to EFFFFh are 16 KB. */
const SEGMENTS: readonly { readonly base: number; readonly size: number }[] = [
  { base: 0xf0000, size: 0x10000 },
  ...Array.from({ length: 12 }, (_, i) => ({ base: 0xc0000 + i * 0x4000, size: 0x4000 })),
];

/** Registers that only keep their values: timing, refresh, errors, test (3.2). */
const KEPT: readonly ConfigRegister[] = [
  { at: 0x50, size: 2, writable: 0xffff },
  { at: 0x52, size: 1, writable: 0xff },
  { at: 0x53, size: 1, initial: 0x83, writable: 0xff },
  { at: 0x54, size: 1, writable: 0xff },
  { at: 0x55, size: 2, writable: 0xffff },
  { at: 0x57, size: 1, initial: 0x01, writable: 0xff },
  { at: 0x58, size: 1, writable: 0xff },
  { at: 0x70, size: 1, writable: 0xff },
  { at: 0x71, size: 1, initial: 0x10, writable: 0xff },
  { at: 0x90, size: 1, writable: 0xff },
  { at: 0x91, size: 2, clears: 0xffff },
];

/** DRAM row boundaries for `bytes` of RAM: each the end of its row (3.2.19). */
function rowBoundaries(bytes: number): ConfigRegister[] {
  const units = Math.ceil(bytes / ROW_UNIT);
  return Array.from({ length: ROWS }, (_, row) => {
    const last = row === ROWS - 1;
    return { at: REG.DRB + row, size: 1, initial: last ? units : Math.min(units, (row + 1) * LARGEST_ROW) };
  });
}

/** What the bridge is wired to. */
export interface I440fxDeps {
  readonly pci: PciBus;
  readonly shadow: ShadowControl;
  /** Bytes of RAM. */
  readonly memory: number;
  /** For firmware that looks for the machine it was made for. */
  readonly subsystem?: PciFunctionOptions["subsystem"];
}

export class I440fx implements Stateful<PciFunctionState> {
  readonly #shadow: ShadowControl;
  readonly #function: PciFunction;
  /** SMRAM control as it was last set, and attributes by segment. */
  #smram: number = SMRAM.BASE;
  readonly #attributes = new Uint8Array(SEGMENTS.length);

  constructor({ pci, shadow, memory, subsystem }: I440fxDeps) {
    this.#shadow = shadow;
    const { device, function: number } = PCI_PLACE.HOST;
    this.#function = pci.add(device, number, {
      name: "440fx",
      vendor: 0x8086,
      device: 0x1237,
      revision: 2,
      classCode: 0x060000,
      ...(subsystem && { subsystem }),
      command: { fixed: PCI_COMMAND.MEMORY | PCI_COMMAND.MASTER, writable: PCI_COMMAND.PARITY | PCI_COMMAND.SERR },
      status: PCI_STATUS.DEVSEL_MEDIUM | PCI_STATUS.FAST_BACK,
      registers: [
        ...KEPT,
        ...rowBoundaries(memory),
        { at: REG.PAM, size: 1, writable: PAM.WRITABLE_0 },
        ...[1, 2, 3, 4, 5, 6].map((i): ConfigRegister => ({ at: REG.PAM + i, size: 1, writable: PAM.WRITABLE })),
        {
          at: REG.SMRAM,
          size: 1,
          initial: SMRAM.BASE,
          writable: SMRAM.ENABLE | SMRAM.LOCK | SMRAM.CLOSED | SMRAM.OPEN,
        },
      ],
      changed: () => this.#changed(),
    });
  }

  #changed(): void {
    this.#lockSmram();
    for (const [i, { base, size }] of SEGMENTS.entries()) {
      const half = i + 1;
      const attributes = (this.#function.read(REG.PAM + (half >> 1), 1) >> (half & 1 ? 4 : 0)) & (PAM.READ | PAM.WRITE);
      if (attributes === this.#attributes[i]) continue;
      this.#attributes[i] = attributes;
      this.#shadow.shadow(base, size, (attributes & PAM.READ) !== 0, (attributes & PAM.WRITE) !== 0);
    }
  }

  /** Once locked, the window stays closed, and only reset unlocks it. */
  #lockSmram(): void {
    const before = this.#smram;
    let now = this.#function.read(REG.SMRAM, 1);
    if (now & SMRAM.LOCK) now &= ~SMRAM.OPEN;
    if (before & SMRAM.LOCK) now = (now & ~LOCKED) | (before & LOCKED);
    this.#function.set(REG.SMRAM, 1, now);
    this.#smram = now;
    if ((now ^ before) & SMRAM.OPEN) this.#shadow.openSmram((now & SMRAM.OPEN) !== 0);
  }

  reset(): void {
    this.#unlock();
    this.#function.reset();
  }

  state(): PciFunctionState {
    return this.#function.state();
  }

  restore(state: PciFunctionState): void {
    this.#unlock();
    this.#function.restore(state);
  }

  #unlock(): void {
    this.#smram &= ~SMRAM.LOCK;
  }
}
