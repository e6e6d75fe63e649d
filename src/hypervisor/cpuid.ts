/**
 * CPU models: what CPUID says of each, and so which instructions decode. A model reports what the processor implements of
 * the product it is named after, and nothing else: no MTRR, PAT or machine check. SDM 2A CPUID.
 */
import type { CpuIdentity } from "../processor/cpu.ts";

/** Feature bits by the names that instruction rows use: leaf 1 EDX and ECX, leaf 80000001h EDX. */
const FEATURES = {
  edx: {
    fpu: 0, vme: 1, de: 2, pse: 3, tsc: 4, msr: 5, pae: 6, cx8: 8, apic: 9, sep: 11, pge: 13, cmov: 15, clfsh: 19, mmx: 23,
    fxsr: 24, sse: 25, sse2: 26,
  },
  ecx: { sse3: 0, ssse3: 9, sse4_1: 19, sse4_2: 20, movbe: 22, popcnt: 23, tsc_deadline: 24 },
  extended: { nx: 20 },
} as const; // biome-ignore format: a table

type Feature = keyof typeof FEATURES.edx | keyof typeof FEATURES.ecx | keyof typeof FEATURES.extended;

/** A processor product as CPUID describes it. */
export interface CpuModel {
  /** Family, model and stepping as leaf 1 EAX and, at reset, EDX have them. */
  readonly signature: number;
  /** Empty where the product has no brand string. */
  readonly brand: string;
  readonly features: ReadonlySet<string>;
  /** Cache and TLB descriptors of leaf 2: EAX (its low byte is 1), EBX, ECX, EDX; undefined where there is no leaf 2. */
  readonly descriptors: readonly [number, number, number, number] | undefined;
}

const VENDOR = "GenuineIntel";
/** CLFLUSH line, in units of 8 bytes, at bit 8 of leaf 1 EBX. */
const CLFLUSH_LINE = 8 << 8;
const BASIC_486: readonly Feature[] = ["fpu", "vme"];
const PENTIUM: readonly Feature[] = [...BASIC_486, "de", "pse", "tsc", "msr", "cx8", "apic"];
const PENTIUM_MMX: readonly Feature[] = [...PENTIUM, "mmx"];
const PENTIUM_2: readonly Feature[] = [...PENTIUM_MMX, "pae", "sep", "pge", "cmov", "fxsr"];
const PENTIUM_3: readonly Feature[] = [...PENTIUM_2, "sse"];
const PENTIUM_4: readonly Feature[] = [...PENTIUM_3, "sse2", "clfsh"];
const CORE_2: readonly Feature[] = [...PENTIUM_4, "sse3", "ssse3", "nx"];
const NEHALEM: readonly Feature[] = [...CORE_2, "sse4_1", "sse4_2", "popcnt"];
const MAX: readonly Feature[] = [...NEHALEM, "movbe", "tsc_deadline"];

type Descriptors = NonNullable<CpuModel["descriptors"]>;

function model(signature: number, features: readonly Feature[], descriptors?: Descriptors, brand = ""): CpuModel {
  return { signature, brand, features: new Set(features), descriptors };
}

/** Caches of Nehalem (SDM 2A table 3-12), for the models without a product of their own as well. */
const NEHALEM_CACHES: Descriptors = [0x5503_5a01, 0x00f0_b2e4, 0, 0x09ca_212c];

/** All models. `max` has everything that is implemented. */
export const CPU_MODELS = {
  "486": model(0x480, BASIC_486),
  pentium: model(0x52c, PENTIUM),
  "pentium-mmx": model(0x543, PENTIUM_MMX),
  pentium2: model(0x653, PENTIUM_2, [0x0302_0101, 0, 0, 0x0c04_0843]),
  pentium3: model(0x68a, PENTIUM_3, [0x0302_0101, 0, 0, 0x0c04_0882]),
  pentium4: model(0xf29, PENTIUM_4, [0x665b_5001, 0, 0, 0x007b_7040], "Intel(R) Pentium(R) 4 CPU"),
  core2: model(0x6fb, CORE_2, [0x05b0_b101, 0x0056_57f0, 0, 0x2cb4_3049], "Intel(R) Core(TM)2 CPU"),
  nehalem: model(0x1_06a5, NEHALEM, NEHALEM_CACHES, "Intel Core i7 (Nehalem)"),
  max: model(0x1_06a5, MAX, NEHALEM_CACHES, "vmxon virtual processor"),
} as const satisfies Readonly<Record<string, CpuModel>>;

export type CpuModelName = keyof typeof CPU_MODELS;

/** Names of all models, oldest first. */
export const CPU_MODEL_NAMES = Object.keys(CPU_MODELS) as CpuModelName[];

/** The model of domains that ask for none. */
export const DEFAULT_CPU_MODEL: CpuModelName = "max";

/** What the processor needs to know of a model. */
export function cpuIdentity(name: CpuModelName): CpuIdentity {
  const { signature, features } = CPU_MODELS[name];
  return { signature, has: (feature) => features.has(feature) };
}

export interface CpuidResult {
  readonly eax: number;
  readonly ebx: number;
  readonly ecx: number;
  readonly edx: number;
}

function bits(table: Readonly<Record<string, number>>, features: ReadonlySet<string>): number {
  let all = 0;
  for (const [name, bit] of Object.entries(table)) if (features.has(name)) all |= 1 << bit;
  return all;
}

function text(value: string, at: number): number {
  let word = 0;
  for (let i = 0; i < 4; i++) word |= (value.charCodeAt(at + i) || 0) << (8 * i);
  return word;
}

const MAX_ANSWERS = 256;
const ZERO: CpuidResult = { eax: 0, ebx: 0, ecx: 0, edx: 0 };
const EXTENDED = 0x8000_0000;
const LAST_BRAND = 0x8000_0004;

function describeCaches({ descriptors }: CpuModel): CpuidResult {
  if (!descriptors) return ZERO;
  const [eax, ebx, ecx, edx] = descriptors;
  return { eax: eax | 0, ebx: ebx | 0, ecx: ecx | 0, edx: edx | 0 };
}

/** Answers given before: guests ask the same again and again. */
const answers = new Map<string, CpuidResult>();

/**
 * Registers that CPUID returns for `leaf`; leaves beyond the last answer as the highest basic one does (SDM 2A). `apic`: the
 * local APIC is there, and enabled.
 */
export function cpuid(name: CpuModelName, leaf: number, apic = true): CpuidResult {
  const key = `${name} ${leaf} ${apic}`;
  let answer = answers.get(key);
  if (!answer) {
    // A guest may ask for any of four billion leaves.
    if (answers.size > MAX_ANSWERS) answers.clear();
    answer = describe(name, leaf, apic);
    answers.set(key, answer);
  }
  return answer;
}

function describe(name: CpuModelName, leaf: number, apic: boolean): CpuidResult {
  const chosen: CpuModel = CPU_MODELS[name];
  const { brand, features, descriptors, signature } = chosen;
  const highest = descriptors ? 2 : 1;
  const hidden = apic ? { ecx: 0, edx: 0 } : { ecx: 1 << FEATURES.ecx.tsc_deadline, edx: 1 << FEATURES.edx.apic };
  const at = leaf >>> 0;
  if (at >= EXTENDED && brand !== "") {
    if (at === EXTENDED) return { ...ZERO, eax: LAST_BRAND | 0 };
    if (at === EXTENDED + 1) return { ...ZERO, edx: bits(FEATURES.extended, features) };
    if (at > LAST_BRAND) return ZERO;
    const from = (at - EXTENDED - 2) * 16;
    return {
      eax: text(brand, from),
      ebx: text(brand, from + 4),
      ecx: text(brand, from + 8),
      edx: text(brand, from + 12),
    };
  }
  switch (Math.min(at, highest)) {
    case 0:
      return { eax: highest, ebx: text(VENDOR, 0), ecx: text(VENDOR, 8), edx: text(VENDOR, 4) };
    case 1:
      return {
        eax: signature,
        ebx: features.has("clfsh") ? CLFLUSH_LINE : 0,
        ecx: bits(FEATURES.ecx, features) & ~hidden.ecx,
        edx: bits(FEATURES.edx, features) & ~hidden.edx,
      };
    default:
      return describeCaches(chosen);
  }
}
