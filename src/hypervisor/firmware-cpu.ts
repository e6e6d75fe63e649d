/** The processor as firmware services see it: a trapped vCPU in real mode whose registers can be read and changed. */

export type SegmentName = "es" | "cs" | "ss" | "ds" | "fs" | "gs";

/** 32-bit values are unsigned. Writing a segment selector loads it as real mode does (base = selector × 16). */
export interface FirmwareCpu {
  eax: number;
  ecx: number;
  edx: number;
  ebx: number;
  esp: number;
  ebp: number;
  esi: number;
  edi: number;
  eip: number;
  eflags: number;
  selector(segment: SegmentName): number;
  loadSelector(segment: SegmentName, selector: number): void;
  /** Guest-linear base of a segment as its hidden part holds it ("unreal" bases included). */
  base(segment: SegmentName): number;
  /** True when address line 20 passes. */
  a20: boolean;
}
