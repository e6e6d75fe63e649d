/** The words of the state page that are the guest's or the VMCS's, and not the engines' own: to copy and compare them. */
import {
  FIELD,
  type FieldName,
  FPU_REGS,
  FPU_STRIDE,
  GPR,
  SEG,
  SEG_FIELD,
  segmentField,
  XMM_REGS,
  XMM_STRIDE,
} from "../isa/state.ts";
import type { Cpu } from "./cpu.ts";
import { STATE } from "./memory-map.ts";

/** What the engines keep for themselves: they may differ in these. */
const ENGINES: ReadonlySet<FieldName> = new Set<FieldName>([
  "instructions", "budget", "faultVector", "faultError", "modeKey", "readTable", "writeTable", "startEip", "watching",
  "cutBlock", "linkSlot", "linkLinear", "shadowAt", "shadowBlocking", "resumeAt", "extraWork", "repeatDone",
  "tscRead", "tscAt", "tscStep", "tscReach", "flagsKind", "flagsOperand", "skipRegions", "hotBlock", "codeEpoch", "simdFault",
]); // biome-ignore format: a list
/** Copied, but compared as the architectural flags that they stand for. */
const LAZY: ReadonlySet<FieldName> = new Set<FieldName>(["flagsResult", "flagsCarry"]);

interface Word {
  readonly name: string;
  readonly index: number;
  readonly compared: boolean;
}

const WORDS: readonly Word[] = (() => {
  const words: Word[] = [];
  const add = (name: string, offset: number, bytes: number, compared = true): void => {
    for (let at = 0; at < bytes; at += 4)
      words.push({ name: at === 0 ? name : `${name}+${at}`, index: (STATE + offset + at) >> 2, compared });
  };
  for (const [name, offset] of Object.entries(GPR)) add(name, offset, 4);
  for (const [name, segment] of Object.entries(SEG)) {
    for (const part of Object.keys(SEG_FIELD) as (keyof typeof SEG_FIELD)[])
      add(`${name}.${part}`, segmentField(segment, part), 4);
  }
  for (let i = 0; i < 8; i++) add(`R${i}`, FPU_REGS + i * FPU_STRIDE, 12);
  for (let i = 0; i < 8; i++) add(`XMM${i}`, XMM_REGS + i * XMM_STRIDE, 16);
  for (const [name, { offset, size }] of Object.entries(FIELD) as [FieldName, { offset: number; size: number }][])
    if (!ENGINES.has(name)) add(name, offset, size, !LAZY.has(name));
  return words;
})();

/** A copy of the guest's state, and what belongs to it outside of the state page. */
export interface GuestState {
  readonly words: Int32Array;
  readonly eflags: number;
  readonly tscOffsetLow: number;
  readonly tscOffsetHigh: number;
}

export function saveGuestState(cpu: Cpu): GuestState {
  const words = new Int32Array(WORDS.length);
  for (let i = 0; i < WORDS.length; i++) words[i] = cpu.i32[WORDS[i]!.index]!;
  const { tscOffsetLow, tscOffsetHigh } = cpu;
  return { words, eflags: cpu.eflags(), tscOffsetLow, tscOffsetHigh };
}

/** Put a state into a vCPU between two stays in the guest. Its translations stay: see {@link Cpu.flushAll}. */
export function loadGuestState(cpu: Cpu, state: GuestState): void {
  for (let i = 0; i < WORDS.length; i++) cpu.i32[WORDS[i]!.index] = state.words[i]!;
  for (const name of ["cutBlock", "linkSlot", "extraWork", "repeatDone"] as const) cpu.set(name, 0);
  for (const name of ["shadowAt", "resumeAt", "tscAt", "faultVector"] as const) cpu.set(name, -1);
  cpu.tscOffsetLow = state.tscOffsetLow;
  cpu.tscOffsetHigh = state.tscOffsetHigh;
  cpu.entryChecked = false;
}

/** Names and values, in `a` and in `b`, of what differs. */
export function compareGuestStates(a: GuestState, b: GuestState): { name: string; a: number; b: number }[] {
  const found: { name: string; a: number; b: number }[] = [];
  if (a.eflags !== b.eflags) found.push({ name: "eflags (all)", a: a.eflags, b: b.eflags });
  for (let i = 0; i < WORDS.length; i++) {
    const { name, compared } = WORDS[i]!;
    if (compared && a.words[i] !== b.words[i]) found.push({ name, a: a.words[i]!, b: b.words[i]! });
  }
  return found;
}
