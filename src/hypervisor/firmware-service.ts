/** The contract between the ROM stubs that a guest calls and the TypeScript that serves them. */
import type { Clock } from "./clock.ts";
import type { GuestMemory, PortIo } from "./device.ts";
import type { FirmwareCpu } from "./firmware-cpu.ts";

/**
 * Port by which a ROM stub traps: `out FIRMWARE_PORT, al` leaves every register alone. The service is known by the
 * address of the instruction, which must lie in a ROM image of ours.
 */
export const FIRMWARE_PORT = 0xb0;
/** Bytes of that instruction: with EIP so much lower, the guest traps again at once, which is how a service polls. */
export const TRAP_BYTES = 2;

export interface ServiceContext {
  readonly cpu: FirmwareCpu;
  readonly memory: GuestMemory;
  readonly io: PortIo;
  readonly clock: Clock;
}

/** What a service that lasts returns: the vCPU stands still until guest time `until` (ns), then `done` is called. */
export interface Lasting {
  readonly until: number;
  done(): void;
}

/**
 * Serves one trap. While a returned promise is open the vCPU stands still, and under the instruction clock guest time too:
 * it is for work of the host's, and must not wait for guest time.
 */
export type Service = (context: ServiceContext) => void | Promise<void> | Lasting;

/** A ROM image and its services, by the offset in the image of the byte after the trapping OUT instruction. */
export interface Rom {
  readonly name: string;
  /** Guest-physical address where it is placed. */
  readonly base: number;
  readonly image: Uint8Array;
  readonly services: ReadonlyMap<number, Service>;
}
