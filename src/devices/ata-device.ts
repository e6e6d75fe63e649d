/** What an IDE channel needs of the devices on its cable, disks and packet devices alike. */
import type { AtaInterface } from "./ata-interface.ts";

/** A device; the channel (`ide.ts`) selects it, resets it and hands it commands. */
export interface AtaDevice {
  /** Its registers, its data and its interrupt. */
  readonly port: AtaInterface;
  /** A write to the Command register. */
  execute(opcode: number): void;
  /** SRST was set: busy until {@link endReset}. */
  beginReset(): void;
  /** A software reset is over: the signature stands in the registers (9.12). */
  endReset(): void;
  /** Execute Device Diagnostic, which both devices of a channel obey; device 0 reports its end. */
  diagnose(report: boolean): void;
  reset(): void;
  state(): unknown;
  restore(state: unknown): void;
}
