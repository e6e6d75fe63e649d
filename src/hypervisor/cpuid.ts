/** CPUID leaves of the model that domains get: what the processor implements, and nothing else. SDM 2A CPUID. */
import { CPU_SIGNATURE } from "../processor/cpu.ts";

/** Feature bits of leaf 1 EDX, by the names that instruction rows use where they have one. */
const FEATURES = {
  fpu: 0, vme: 1, de: 2, pse: 3, tsc: 4, msr: 5, pae: 6, cx8: 8, sep: 11, pge: 13, cmov: 15,
} as const; // biome-ignore format: a table

/** Leaf 80000001h EDX. */
const EXTENDED = { nx: 20 } as const;

const VENDOR = "GenuineIntel";
const BRAND = "vmxon virtual processor";

export interface CpuidResult {
  readonly eax: number;
  readonly ebx: number;
  readonly ecx: number;
  readonly edx: number;
}

/** Whether the model has a feature, by its name in rows. */
export function hasFeature(name: string): boolean {
  return name in FEATURES;
}

const bits = (table: Readonly<Record<string, number>>): number =>
  Object.values(table).reduce((all, bit) => all | (1 << bit), 0);

function text(value: string, at: number): number {
  let word = 0;
  for (let i = 0; i < 4; i++) word |= (value.charCodeAt(at + i) || 0) << (8 * i);
  return word;
}

const ZERO: CpuidResult = { eax: 0, ebx: 0, ecx: 0, edx: 0 };

/** Basic leaves. Leaf 2 and what lies beyond it: one descriptor round, no cache or TLB described. */
const BASIC: readonly CpuidResult[] = [
  { eax: 2, ebx: text(VENDOR, 0), ecx: text(VENDOR, 8), edx: text(VENDOR, 4) },
  { ...ZERO, eax: CPU_SIGNATURE, edx: bits(FEATURES) },
  { ...ZERO, eax: 1 },
];
const FIRST_EXTENDED = 0x80000000;
/** Leaves from 80000000h on; the last three spell the name. */
const EXTENDED_LEAVES: readonly CpuidResult[] = [
  { ...ZERO, eax: (FIRST_EXTENDED + 4) | 0 },
  { ...ZERO, edx: bits(EXTENDED) },
  ...[0, 16, 32].map((at) => ({
    eax: text(BRAND, at),
    ebx: text(BRAND, at + 4),
    ecx: text(BRAND, at + 8),
    edx: text(BRAND, at + 12),
  })),
];

/** Registers that CPUID returns for `leaf`; leaves beyond the last answer as the highest basic one does (SDM 2A). */
export function cpuid(leaf: number): CpuidResult {
  const number = leaf >>> 0;
  if (number >= FIRST_EXTENDED) return EXTENDED_LEAVES[number - FIRST_EXTENDED] ?? ZERO;
  return BASIC[Math.min(number, BASIC.length - 1)]!;
}
