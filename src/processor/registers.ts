/** Bits of control registers, MSRs, exceptions and access rights, by the names of Intel SDM 3A. */

/** CR0 (SDM 3A 2.5). */
export const CR0 = {
  PE: 1 << 0, MP: 1 << 1, EM: 1 << 2, TS: 1 << 3, ET: 1 << 4, NE: 1 << 5, WP: 1 << 16, AM: 1 << 18, NW: 1 << 29,
  CD: 1 << 30, PG: 1 << 31,
} as const; // biome-ignore format: a table

/** CR4. */
export const CR4 = {
  VME: 1 << 0, PVI: 1 << 1, TSD: 1 << 2, DE: 1 << 3, PSE: 1 << 4, PAE: 1 << 5, MCE: 1 << 6, PGE: 1 << 7, PCE: 1 << 8,
  OSFXSR: 1 << 9, OSXMMEXCPT: 1 << 10, VMXE: 1 << 13,
} as const; // biome-ignore format: a table

/** IA32_EFER. */
export const EFER = { SCE: 1 << 0, LME: 1 << 8, LMA: 1 << 10, NXE: 1 << 11 } as const;

/** Exception vectors (SDM 3A 6.15). */
export const VECTOR = {
  DE: 0, DB: 1, NMI: 2, BP: 3, OF: 4, BR: 5, UD: 6, NM: 7, DF: 8, TS: 10, NP: 11, SS: 12, GP: 13, PF: 14, MF: 16,
  AC: 17, MC: 18, XM: 19,
} as const; // biome-ignore format: a table

/** Page-fault error code (SDM 3A 4.7). */
export const PF_ERROR = { present: 1, write: 2, user: 4, reserved: 8, fetch: 16 } as const;

/** Segment access rights in VMX format (SDM 3C 25.4.1). */
export const AR = {
  TYPE: 0xf, S: 1 << 4, DPL: 3 << 5, P: 1 << 7, AVL: 1 << 12, L: 1 << 13, DB: 1 << 14, G: 1 << 15, UNUSABLE: 1 << 16,
} as const; // biome-ignore format: a table

/** Type bits of code and data segments. */
export const TYPE = { ACCESSED: 1, WRITABLE: 2, READABLE: 2, EXPAND_DOWN: 4, CONFORMING: 4, CODE: 8 } as const;

/** System segment and gate types (SDM 3A 3.5). */
export const SYSTEM_TYPE = {
  TSS16: 1, LDT: 2, TSS16_BUSY: 3, CALL16: 4, TASK_GATE: 5, INT16: 6, TRAP16: 7, TSS32: 9, TSS32_BUSY: 11, CALL32: 12,
  INT32: 14, TRAP32: 15,
} as const; // biome-ignore format: a table

/** DR6 and DR7. */
export const DR6 = { B: 0xf, BD: 1 << 13, BS: 1 << 14, BT: 1 << 15, FIXED: 0xffff0ff0 } as const;
export const DR7 = { ENABLED: 0xff, GD: 1 << 13, FIXED: 0x400 } as const;

/** R/W fields of DR7 (SDM 3B 17.2.4). */
export const BREAKPOINT = { execute: 0, write: 1, io: 2, access: 3 } as const;

/** Kind and length in bytes of breakpoint `i` (0–3) as DR7 says. */
export function breakpointKind(dr7: number, i: number): { kind: number; length: number } {
  return { kind: (dr7 >> (16 + i * 4)) & 3, length: [1, 2, 8, 4][(dr7 >> (18 + i * 4)) & 3] ?? 1 };
}

/** Blocking bits of the VMCS interruptibility field (SDM 3C 25.4.2). */
export const BLOCKING = { STI: 1, MOV_SS: 2, SMI: 4, NMI: 8 } as const;

/** Activity state. */
export const ACTIVITY = { active: 0, hlt: 1, shutdown: 2, waitForSipi: 3 } as const;
