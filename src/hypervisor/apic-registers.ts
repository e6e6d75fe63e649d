/** Registers of local and I/O APICs by the manuals' names. SDM 3A chapter 11; Intel 290566 (82093AA). */

/** Offsets of the local APIC's registers, 16 bytes apart (SDM 3A table 11-1). */
export const APIC = {
  ID: 0x020,
  VERSION: 0x030,
  TPR: 0x080,
  APR: 0x090,
  PPR: 0x0a0,
  EOI: 0x0b0,
  LDR: 0x0d0,
  DFR: 0x0e0,
  SVR: 0x0f0,
  ISR: 0x100,
  TMR: 0x180,
  IRR: 0x200,
  ESR: 0x280,
  ICR_LOW: 0x300,
  ICR_HIGH: 0x310,
  LVT_TIMER: 0x320,
  LVT_THERMAL: 0x330,
  LVT_PERFORMANCE: 0x340,
  LVT_LINT0: 0x350,
  LVT_LINT1: 0x360,
  LVT_ERROR: 0x370,
  TIMER_INITIAL: 0x380,
  TIMER_CURRENT: 0x390,
  TIMER_DIVIDE: 0x3e0,
} as const;

/** Local vector table entries and the interrupt command register (SDM 3A 11.5.1, 11.6.1). */
export const LVT = {
  VECTOR: 0xff,
  MODE_SHIFT: 8,
  REMOTE_IRR: 1 << 14,
  LEVEL: 1 << 15,
  MASKED: 1 << 16,
  TIMER_MODE_SHIFT: 17,
} as const;

/** Delivery modes, of both APICs. */
export const DELIVERY = { FIXED: 0, LOWEST: 1, SMI: 2, NMI: 4, INIT: 5, STARTUP: 6, EXTINT: 7 } as const;

/** Modes of the timer. */
export const TIMER_MODE = { ONE_SHOT: 0, PERIODIC: 1, TSC_DEADLINE: 2 } as const;

/** Spurious-interrupt vector register: software enable. */
export const SVR = { ENABLE: 1 << 8, WRITABLE: 0x1ff } as const;

/** Error status (SDM 3A 11.5.3). */
export const ESR = { SEND_ILLEGAL: 1 << 5, RECEIVE_ILLEGAL: 1 << 6, ILLEGAL_REGISTER: 1 << 7 } as const;

/** IA32_APIC_BASE (SDM 3A 11.4.4). */
export const APIC_BASE = { BSP: 1 << 8, ENABLE: 1 << 11 } as const;

/** Vectors below are exceptions, and no interrupt may have them. */
export const FIRST_VECTOR = 16;

/** What a message on the way from an I/O APIC, or from an interrupt command, is addressed to. */
export interface ApicMessage {
  readonly destination: number;
  readonly logical: boolean;
  /** {@link DELIVERY}. */
  readonly mode: number;
  readonly vector: number;
  readonly level: boolean;
}
