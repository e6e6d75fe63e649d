/** The processor as firmware services see it; the hypervisor, which provides it, owns the definition. */
export type { FirmwareCpu, SegmentName } from "../hypervisor/firmware-cpu.ts";
