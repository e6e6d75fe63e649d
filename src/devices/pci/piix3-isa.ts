/**
 * PIIX3's ISA bridge: PCI interrupts led to ISA ones. Intel 290550 (82371FB/SB), section 2.2; registers of ISA timing keep
 * what is written.
 */
import type { InterruptLine, Stateful } from "../../hypervisor/device.ts";
import { PCI_PLACE, PIRQ_COUNT } from "../pc-layout.ts";
import type { PciBus } from "./pci-bus.ts";
import { type ConfigRegister, PCI_COMMAND, type PciFunction, type PciFunctionState } from "./pci-function.ts";

const REG = { PIRQRC: 0x60 } as const;
/** PIRQ route control (2.2.7): not routed; the IRQ. */
const PIRQRC = { DISABLED: 1 << 7, IRQ: 0x0f, WRITABLE: 0x8f } as const;
/** Interrupts that a PIRQ can be routed to. */
const ROUTABLE: ReadonlySet<number> = new Set([3, 4, 5, 6, 7, 9, 10, 11, 12, 14, 15]);
/** Registers that only keep their values: I/O recovery, chip selects, top of memory, motherboard routes, SMI timers. */
const KEPT: readonly ConfigRegister[] = [
  { at: 0x4c, size: 1, initial: 0x4d, writable: 0xff },
  { at: 0x4e, size: 2, initial: 0x0003, writable: 0x01ff },
  { at: 0x69, size: 1, initial: 0x02, writable: 0xfe },
  { at: 0x6a, size: 2, writable: 0x80ff },
  { at: 0x70, size: 1, initial: 0x80, writable: 0xaf },
  { at: 0x76, size: 2, initial: 0x0c0c, writable: 0x8f8f },
  { at: 0x78, size: 2, initial: 0x0002, writable: 0xfffb },
  { at: 0x80, size: 1, writable: 0x7f },
  { at: 0x82, size: 1, writable: 0x0f },
  { at: 0xa0, size: 1, initial: 0x08, writable: 0x1f },
  { at: 0xa2, size: 2, writable: 0x01ff },
  { at: 0xa4, size: 4, writable: 0xf000_ffff },
  { at: 0xa8, size: 1, initial: 0x0f, writable: 0xff },
  { at: 0xaa, size: 2, writable: 0x01ff },
  { at: 0xac, size: 1, writable: 0xff },
  { at: 0xae, size: 1, writable: 0xff },
];

/** State of the bridge. */
export interface Piix3IsaState extends PciFunctionState {
  /** Levels of PIRQ A–D. */
  pirq: boolean[];
}

/** What the bridge is wired to. */
export interface Piix3IsaDeps {
  readonly pci: PciBus;
  /** A line to an ISA interrupt; each call makes a new source. */
  readonly irq: (irq: number) => InterruptLine;
}

export class Piix3Isa implements Stateful<Piix3IsaState> {
  readonly #function: PciFunction;
  /** By PIRQ: lines by IRQ. */
  readonly #lines: readonly ReadonlyMap<number, InterruptLine>[];
  readonly #routes: number[] = new Array(PIRQ_COUNT).fill(-1);
  readonly #levels: boolean[] = new Array(PIRQ_COUNT).fill(false);

  constructor({ pci, irq }: Piix3IsaDeps) {
    const { device, function: number } = PCI_PLACE.ISA;
    this.#lines = Array.from({ length: PIRQ_COUNT }, () => new Map([...ROUTABLE].map((i) => [i, irq(i)])));
    this.#function = pci.add(device, number, {
      name: "piix3",
      vendor: 0x8086,
      device: 0x7000,
      revision: 0,
      classCode: 0x060100,
      multifunction: true,
      command: { fixed: PCI_COMMAND.IO | PCI_COMMAND.MEMORY | PCI_COMMAND.MASTER, writable: PCI_COMMAND.SERR },
      registers: [
        ...KEPT,
        ...this.#routes.map(
          (_, i): ConfigRegister => ({
            at: REG.PIRQRC + i,
            size: 1,
            initial: PIRQRC.DISABLED,
            writable: PIRQRC.WRITABLE,
          }),
        ),
      ],
      changed: () => this.#route(),
    });
  }

  /** Lead each PIRQ where its register says. */
  #route(): void {
    for (let i = 0; i < PIRQ_COUNT; i++) {
      const value = this.#function.read(REG.PIRQRC + i, 1);
      const irq = value & PIRQRC.DISABLED ? -1 : value & PIRQRC.IRQ;
      if (irq === this.#routes[i]) continue;
      this.#drive(i, false);
      this.#routes[i] = irq;
      this.#drive(i, this.#levels[i]!);
    }
  }

  #drive(pirq: number, level: boolean): void {
    this.#lines[pirq]!.get(this.#routes[pirq]!)?.set(level);
  }

  /** PIRQ A–D (0–3). */
  setPirq(pirq: number, level: boolean): void {
    this.#levels[pirq] = level;
    this.#drive(pirq, level);
  }

  reset(): void {
    this.#function.reset();
  }

  state(): Piix3IsaState {
    return { ...this.#function.state(), pirq: [...this.#levels] };
  }

  restore(state: Piix3IsaState): void {
    for (const [i, level] of state.pirq.entries()) this.#levels[i] = level;
    this.#function.restore(state);
    for (const [i, level] of state.pirq.entries()) this.#drive(i, level);
  }
}
