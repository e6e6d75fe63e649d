/**
 * Reads the decoder and instruction-information lists of the iced project: one encoding to a line, with what it decodes
 * to, or with the flags it reads and writes.
 */

/** An operand as the lists describe it. */
export type ListedOperand =
  | { readonly kind: "register"; readonly name: string }
  | {
      readonly kind: "memory";
      readonly segment: string;
      readonly base: string;
      readonly index: string;
      readonly scale: number;
      /** As the list writes it, unsigned 32 or 16 bits. */
      readonly displacement: number;
      /** Bytes of the displacement in the encoding, 0 if there is none. */
      readonly displacementSize: number;
      readonly type: string;
    }
  | { readonly kind: "immediate"; readonly value: number; readonly type: string }
  | { readonly kind: "near"; readonly target: number }
  | { readonly kind: "far"; readonly selector: number; readonly offset: number }
  /** String operands: segment and pointer register, such as "segesi" or "esdi". */
  | { readonly kind: "string"; readonly pointer: string; readonly segment: string };

/** One line of a decoder list. */
export interface ListedInstruction {
  readonly bits: 16 | 32;
  readonly bytes: Uint8Array;
  /** Name of the encoding, "INVALID" if it is none. */
  readonly code: string;
  readonly mnemonic: string;
  readonly operands: readonly ListedOperand[];
  /** Words without "=": prefixes such as "lock", "repe", "es:". */
  readonly words: ReadonlySet<string>;
  /** Decoder options that the line depends on; empty for the plain decoder. */
  readonly options: readonly string[];
  /** Set when the bytes end before the instruction does. */
  readonly truncated: boolean;
}

/** Address of every instruction in the lists: near targets are relative to it. */
export const LISTED_ADDRESS = { 16: 0x7ff0, 32: 0x7ffffff0 } as const;

function lines(text: string): string[] {
  return text
    .split("\n")
    .map((line) => line.trim())
    .filter((line) => line !== "" && !line.startsWith("#"));
}

function hexBytes(text: string): Uint8Array {
  return Uint8Array.from(Buffer.from(text.replaceAll(" ", ""), "hex"));
}

function parseOperand(text: string): ListedOperand | undefined {
  const [kind, ...rest] = text.split(";") as [string, ...string[]];
  const field = (i: number): string => rest[i] ?? "";
  const number = (i: number): number => Number(field(i) === "" ? 0 : field(i)) >>> 0;
  if (kind === "r") return { kind: "register", name: field(0) };
  if (kind === "m") {
    return {
      kind: "memory",
      segment: field(0),
      base: field(1),
      index: field(2),
      scale: number(3),
      displacement: number(4),
      displacementSize: number(5),
      type: field(6),
    };
  }
  if (/^i\d/.test(kind)) return { kind: "immediate", value: number(0), type: kind };
  if (/^nb/.test(kind)) return { kind: "near", target: number(0) };
  if (/^fb/.test(kind)) return { kind: "far", selector: number(0), offset: number(1) };
  if (/^(seg|es)/.test(kind)) return { kind: "string", pointer: kind, segment: field(0) };
  return undefined;
}

/** Every line of a decoder list. */
export function readDecoderList(text: string, bits: 16 | 32): ListedInstruction[] {
  return lines(text).map((line) => {
    const [hex, code, mnemonic, , ...rest] = line.split(",").map((part) => part.trim()) as [string, string, string];
    const words = rest.join(",").split(/\s+/);
    const operands: ListedOperand[] = [];
    for (const word of words) {
      const operand = /^op\d=(.*)$/.exec(word)?.[1];
      const parsed = operand === undefined ? undefined : parseOperand(operand);
      if (parsed !== undefined) operands.push(parsed);
    }
    const option = words.find((word) => word.startsWith("decopt="));
    return {
      bits,
      bytes: hexBytes(hex),
      code,
      mnemonic,
      operands,
      words: new Set(words.filter((word) => word !== "" && !word.includes("="))),
      options: option === undefined ? [] : option.slice("decopt=".length).split(";"),
      truncated: words.includes("err=NoMoreBytes"),
    };
  });
}

/** EFLAGS letters of the lists. */
const FLAG_LETTERS: Readonly<Record<string, number>> = {
  c: 1 << 0,
  p: 1 << 2,
  a: 1 << 4,
  z: 1 << 6,
  s: 1 << 7,
  i: 1 << 9,
  d: 1 << 10,
  o: 1 << 11,
};

/** What an instruction does with EFLAGS. */
export interface ListedInfo {
  readonly bytes: Uint8Array;
  readonly bits: 16 | 32;
  readonly code: string;
  /** "Legacy", "VEX", … */
  readonly encoding: string;
  /** CPUID features or processors that have it. */
  readonly features: readonly string[];
  readonly read: number;
  /** Written, whether to a computed or a constant value. */
  readonly written: number;
  readonly undefined: number;
}

/** Every line of an instruction-information list. */
export function readInfoList(text: string, bits: 16 | 32): ListedInfo[] {
  return lines(text).map((line) => {
    const [hex, code, encoding, features, ...rest] = line.split(",").map((part) => part.trim()) as [
      string,
      string,
      string,
      string,
    ];
    const words = rest.join(",").split(/\s+/);
    const flags = (...keys: string[]): number => {
      let mask = 0;
      for (const key of keys) {
        const letters = words.find((word) => word.startsWith(`${key}=`))?.slice(key.length + 1) ?? "";
        for (const letter of letters) mask |= FLAG_LETTERS[letter] ?? 0;
      }
      return mask;
    };
    return {
      bytes: hexBytes(hex),
      bits,
      code,
      encoding,
      features: features.split(";"),
      read: flags("fr"),
      written: flags("fw", "fc", "fs"),
      undefined: flags("fu"),
    };
  });
}

const list = (text: string): string[] => text.trim().split(/\s+/);

/** Mnemonics, as the lists write them, that every 32-bit processor model of ours decodes: 8086 to Pentium Pro, x87. */
export const MODEL_MNEMONICS: ReadonlySet<string> = new Set(
  list(`
    Aaa Aad Aam Aas Adc Add And Arpl Bound Bsf Bsr Bswap Bt Btc Btr Bts Call Cbw Cdq Clc Cld Cli Clts Cmc Cmova Cmovae
    Cmovb Cmovbe Cmove Cmovg Cmovge Cmovl Cmovle Cmovne Cmovno Cmovnp Cmovns Cmovo Cmovp Cmovs Cmp Cmpsb Cmpsd Cmpsw
    Cmpxchg Cmpxchg8b Cpuid Cwd Cwde Daa Das Dec Div Enter Hlt Idiv Imul In Inc Insb Insd Insw Int Int1 Int3 Into Invd
    Invlpg Iret Iretd Ja Jae Jb Jbe Jcxz Je Jecxz Jg Jge Jl Jle Jmp Jne Jno Jnp Jns Jo Jp Js Lahf Lar Lds Lea Leave Les
    Lfs Lgdt Lgs Lidt Lldt Lmsw Lodsb Lodsd Lodsw Loop Loope Loopne Lsl Lss Ltr Mov Movsb Movsd Movsw Movsx Movzx Mul
    Neg Not Or Out Outsb Outsd Outsw Pop Popa Popad Popf Popfd Push Pusha Pushad Pushf Pushfd Rcl Rcr Rdmsr Rdtsc Ret
    Retf Rol Ror Rsm Sahf Sal Salc Sar Sbb Scasb Scasd Scasw Seta Setae Setb Setbe Sete Setg Setge Setl Setle Setne
    Setno Setnp Setns Seto Setp Sets Sgdt Shl Shld Shr Shrd Sidt Sldt Smsw Stc Std Sti Stosb Stosd Stosw Str Sub Test
    Verr Verw Wait Wbinvd Wrmsr Xadd Xchg Xlatb Xor
    F2xm1 Fabs Fadd Faddp Fbld Fbstp Fchs Fcmovb Fcmovbe Fcmove Fcmovnb Fcmovnbe Fcmovne Fcmovnu Fcmovu Fcom Fcomi
    Fcomip Fcomp Fcompp Fcos Fdecstp Fdiv Fdivp Fdivr Fdivrp Ffree Ffreep Fiadd Ficom Ficomp Fidiv Fidivr Fild Fimul
    Fincstp Fist Fistp Fisub Fisubr Fld Fld1 Fldcw Fldenv Fldl2e Fldl2t Fldlg2 Fldln2 Fldpi Fldz Fmul Fmulp Fnclex
    Fndisi Fneni Fninit Fnop Fnsave Fnsetpm Fnstcw Fnstenv Fnstsw Fpatan Fprem Fprem1 Fptan Frndint Frstor Fscale Fsin
    Fsincos Fsqrt Fst Fstp Fstpnce Fsub Fsubp Fsubr Fsubrp Ftst Fucom Fucomi Fucomip Fucomp Fucompp Fxam Fxch Fxtract
    Fyl2x Fyl2xp1`),
);

/** Mnemonics whose encodings models may have, or read as an older instruction (BSF for TZCNT, say): not looked at. */
export const OPTIONAL_MNEMONICS: ReadonlySet<string> = new Set(
  list(`
    Cldemote Endbr32 Endbr64 Fisttp Fxrstor Fxsave Lzcnt Nop Pause Prefetchit0 Prefetchit1 Prefetchnta Prefetcht0
    Prefetcht1 Prefetcht2 Prefetchw Prefetchwt1 Prefetch Rdpmc Rdsspd Reservednop Sysenter Sysexit Tzcnt Ud0 Ud1 Ud2
    Vmcall Vmclear Vmlaunch Vmptrld Vmptrst Vmread Vmresume Vmwrite Vmxoff Vmxon Wbnoinvd`),
);
