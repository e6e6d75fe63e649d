/**
 * What POST says to CD drives: one packet each, since the first command after a reset only hears of that reset (unit
 * attention). Programs that know no more than to read would stumble over it. ATA/ATAPI-6 9.8, SFF-8020i.
 */
import type { PortIo } from "../../hypervisor/device.ts";
import type { BiosCd } from "./cdrom.ts";
import { CHANNELS, DEVICE_HEAD } from "./edd.ts";

/** Registers of a channel's command block. */
const REG = { DATA: 0, FEATURES: 1, DEVICE: 6, STATUS_COMMAND: 7 } as const;
const STATUS = { DRQ: 1 << 3, BSY: 1 << 7 } as const;
const PACKET = 0xa0;
/** Test Unit Ready: twelve bytes of zero. */
const PACKET_WORDS = 6;
/** Device Control: no interrupts. */
const NIEN = 1 << 1;

/** Let the drive tell of its reset. A drive that is not as it should be is left as it is. */
export function settleCdDrive(io: PortIo, cd: BiosCd): void {
  const { base, control } = CHANNELS[cd.position >> 1] ?? CHANNELS[0];
  io.out(control, 1, NIEN);
  io.out(base + REG.DEVICE, 1, DEVICE_HEAD.FIXED | (cd.position & 1 ? DEVICE_HEAD.SLAVE : 0));
  io.out(base + REG.FEATURES, 1, 0);
  io.out(base + REG.STATUS_COMMAND, 1, PACKET);
  if ((io.in(base + REG.STATUS_COMMAND, 1) & (STATUS.BSY | STATUS.DRQ)) === STATUS.DRQ) {
    for (let i = 0; i < PACKET_WORDS; i++) io.out(base + REG.DATA, 2, 0);
    io.in(base + REG.STATUS_COMMAND, 1);
  }
  io.out(base + REG.DEVICE, 1, DEVICE_HEAD.FIXED);
  io.out(control, 1, 0);
}
