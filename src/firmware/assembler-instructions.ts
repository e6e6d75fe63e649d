/**
 * The assembler's instruction table: one row per form, "mnemonic operands : encoding" (Intel SDM volume 2's notation).
 *
 * Operands: r8 rv r16 r32 (registers), rm8 rmv rm16 rm32 (register or memory), m (memory), mf (far pointer in memory),
 * ib iv iw (immediates), sb (immediate that fits a sign-extended byte), 1 al ax eax dx cl eAX (themselves; eAX = AX or
 * EAX by operand size), sreg creg dreg, rel8 relv, ptr, moffs. A "v" operand is 16 or 32 bits, all of them alike.
 * Encoding: opcode bytes, +r (register in the opcode), /r or /digit (ModRM), ib iw iv (immediates), sb (sign-extended
 * byte), jb jv (relative), p (far pointer), o (memory offset), o16/o32 (operand size fixed).
 */

export type OperandClass =
  | "r8"
  | "rv"
  | "r16"
  | "r32"
  | "rm8"
  | "rmv"
  | "rm16"
  | "rm32"
  | "m"
  | "mf"
  | "ib"
  | "iv"
  | "iw"
  | "sb"
  | "1"
  | "al"
  | "ax"
  | "eax"
  | "dx"
  | "cl"
  | "eAX"
  | "sreg"
  | "creg"
  | "dreg"
  | "rel8"
  | "relv"
  | "ptr"
  | "moffs"
  | "es"
  | "cs"
  | "ss"
  | "ds"
  | "fs"
  | "gs";

export interface Form {
  readonly operands: readonly OperandClass[];
  readonly opcode: readonly number[];
  readonly tokens: readonly string[];
  /** True when the form's operand size is 16 or 32 by its operands or by the code's default. */
  readonly variable: boolean;
  readonly fixedSize: 16 | 32 | undefined;
}

const CONDITIONS: readonly (readonly string[])[] = [
  ["o"],
  ["no"],
  ["b", "c", "nae"],
  ["ae", "nb", "nc"],
  ["e", "z"],
  ["ne", "nz"],
  ["be", "na"],
  ["a", "nbe"],
  ["s"],
  ["ns"],
  ["p", "pe"],
  ["np", "po"],
  ["l", "nge"],
  ["ge", "nl"],
  ["le", "ng"],
  ["g", "nle"],
];

const ROWS = `
mov al moffs : A0 o
mov eAX moffs : A1 o
mov moffs al : A2 o
mov moffs eAX : A3 o
mov rm8 r8 : 88 /r
mov rmv rv : 89 /r
mov r8 rm8 : 8A /r
mov rv rmv : 8B /r
mov rm16 sreg : 8C /r
mov sreg rm16 : 8E /r
mov r8 ib : B0 +r ib
mov rv iv : B8 +r iv
mov rm8 ib : C6 /0 ib
mov rmv iv : C7 /0 iv
mov r32 creg : 0F 20 /r
mov r32 dreg : 0F 21 /r
mov creg r32 : 0F 22 /r
mov dreg r32 : 0F 23 /r
push rv : 50 +r
push es : 06
push cs : 0E
push ss : 16
push ds : 1E
push fs : 0F A0
push gs : 0F A8
push sb : 6A sb
push iv : 68 iv
push rmv : FF /6
pop rv : 58 +r
pop es : 07
pop ss : 17
pop ds : 1F
pop fs : 0F A1
pop gs : 0F A9
pop rmv : 8F /0
pusha : o16 60
pushad : o32 60
popa : o16 61
popad : o32 61
pushf : o16 9C
pushfd : o32 9C
popf : o16 9D
popfd : o32 9D
xchg eAX rv : 90 +r
xchg rv eAX : 90 +r
xchg r8 rm8 : 86 /r
xchg rm8 r8 : 86 /r
xchg rv rmv : 87 /r
xchg rmv rv : 87 /r
lea rv m : 8D /r
les rv m : C4 /r
lds rv m : C5 /r
lss rv m : 0F B2 /r
lfs rv m : 0F B4 /r
lgs rv m : 0F B5 /r
movzx rv rm8 : 0F B6 /r
movzx r32 rm16 : o32 0F B7 /r
movsx rv rm8 : 0F BE /r
movsx r32 rm16 : o32 0F BF /r
inc rv : 40 +r
inc rm8 : FE /0
inc rmv : FF /0
dec rv : 48 +r
dec rm8 : FE /1
dec rmv : FF /1
test al ib : A8 ib
test eAX iv : A9 iv
test rm8 r8 : 84 /r
test rmv rv : 85 /r
test rm8 ib : F6 /0 ib
test rmv iv : F7 /0 iv
not rm8 : F6 /2
not rmv : F7 /2
neg rm8 : F6 /3
neg rmv : F7 /3
mul rm8 : F6 /4
mul rmv : F7 /4
imul rm8 : F6 /5
imul rmv : F7 /5
imul rv rmv : 0F AF /r
imul rv rmv sb : 6B /r sb
imul rv rmv iv : 69 /r iv
div rm8 : F6 /6
div rmv : F7 /6
idiv rm8 : F6 /7
idiv rmv : F7 /7
shld rmv rv ib : 0F A4 /r ib
shld rmv rv cl : 0F A5 /r
shrd rmv rv ib : 0F AC /r ib
shrd rmv rv cl : 0F AD /r
bt rmv rv : 0F A3 /r
bt rmv ib : 0F BA /4 ib
bts rmv rv : 0F AB /r
bts rmv ib : 0F BA /5 ib
btr rmv rv : 0F B3 /r
btr rmv ib : 0F BA /6 ib
btc rmv rv : 0F BB /r
btc rmv ib : 0F BA /7 ib
bsf rv rmv : 0F BC /r
bsr rv rmv : 0F BD /r
xadd rm8 r8 : 0F C0 /r
xadd rmv rv : 0F C1 /r
cmpxchg rm8 r8 : 0F B0 /r
cmpxchg rmv rv : 0F B1 /r
cmpxchg8b m : 0F C7 /1
bswap r32 : o32 0F C8 +r
jmp rel8 : EB jb
jmp relv : E9 jv
jmp ptr : EA p
jmp rmv : FF /4
jmp mf : FF /5
call relv : E8 jv
call ptr : 9A p
call rmv : FF /2
call mf : FF /3
loopne rel8 : E0 jb
loopnz rel8 : E0 jb
loope rel8 : E1 jb
loopz rel8 : E1 jb
loop rel8 : E2 jb
jcxz rel8 : a16 E3 jb
jecxz rel8 : a32 E3 jb
ret : C3
ret iw : C2 iw
retf : CB
retf iw : CA iw
retfd : o32 CB
int3 : CC
int ib : CD ib
into : CE
int1 : F1
iret : o16 CF
iretd : o32 CF
in al ib : E4 ib
in ax ib : o16 E5 ib
in eax ib : o32 E5 ib
in al dx : EC
in ax dx : o16 ED
in eax dx : o32 ED
out ib al : E6 ib
out ib ax : o16 E7 ib
out ib eax : o32 E7 ib
out dx al : EE
out dx ax : o16 EF
out dx eax : o32 EF
insb : 6C
insw : o16 6D
insd : o32 6D
outsb : 6E
outsw : o16 6F
outsd : o32 6F
movsb : A4
movsw : o16 A5
movsd : o32 A5
cmpsb : A6
cmpsw : o16 A7
cmpsd : o32 A7
stosb : AA
stosw : o16 AB
stosd : o32 AB
lodsb : AC
lodsw : o16 AD
lodsd : o32 AD
scasb : AE
scasw : o16 AF
scasd : o32 AF
xlat : D7
xlatb : D7
salc : D6
nop : 90
cbw : o16 98
cwde : o32 98
cwd : o16 99
cdq : o32 99
sahf : 9E
lahf : 9F
clc : F8
stc : F9
cmc : F5
cli : FA
sti : FB
cld : FC
std : FD
hlt : F4
wait : 9B
daa : 27
das : 2F
aaa : 37
aas : 3F
aam : D4 0A
aam ib : D4 ib
aad : D5 0A
aad ib : D5 ib
enter iw ib : C8 iw ib
leave : C9
bound rv m : 62 /r
arpl rm16 r16 : 63 /r
sgdt m : 0F 01 /0
sidt m : 0F 01 /1
lgdt m : 0F 01 /2
lidt m : 0F 01 /3
smsw rv : 0F 01 /4
smsw rm16 : 0F 01 /4
lmsw rm16 : 0F 01 /6
invlpg m : 0F 01 /7
sldt rv : 0F 00 /0
sldt rm16 : 0F 00 /0
str rv : 0F 00 /1
str rm16 : 0F 00 /1
lldt rm16 : 0F 00 /2
ltr rm16 : 0F 00 /3
verr rm16 : 0F 00 /4
verw rm16 : 0F 00 /5
lar rv rmv : 0F 02 /r
lsl rv rmv : 0F 03 /r
clts : 0F 06
invd : 0F 08
wbinvd : 0F 09
ud2 : 0F 0B
wrmsr : 0F 30
rdtsc : 0F 31
rdmsr : 0F 32
rdpmc : 0F 33
sysenter : 0F 34
sysexit : 0F 35
cpuid : 0F A2
rsm : 0F AA
fninit : DB E3
fnclex : DB E2
fnstsw ax : DF E0
fnstsw m : DD /7
fnstcw m : D9 /7
fldcw m : D9 /5
fnsave m : DD /6
frstor m : DD /4
`;

const ARITHMETIC = ["add", "or", "adc", "sbb", "and", "sub", "xor", "cmp"];
const SHIFTS: readonly (readonly [string, number])[] = [
  ["rol", 0],
  ["ror", 1],
  ["rcl", 2],
  ["rcr", 3],
  ["shl", 4],
  ["sal", 4],
  ["shr", 5],
  ["sar", 7],
];

const hex = (value: number): string => value.toString(16).padStart(2, "0");

function families(): string[] {
  const rows: string[] = [];
  ARITHMETIC.forEach((name, digit) => {
    const opcode = digit * 8;
    rows.push(
      `${name} rm8 r8 : ${hex(opcode)} /r`,
      `${name} rmv rv : ${hex(opcode + 1)} /r`,
      `${name} r8 rm8 : ${hex(opcode + 2)} /r`,
      `${name} rv rmv : ${hex(opcode + 3)} /r`,
      `${name} al ib : ${hex(opcode + 4)} ib`,
      `${name} rmv sb : 83 /${digit} sb`,
      `${name} eAX iv : ${hex(opcode + 5)} iv`,
      `${name} rm8 ib : 80 /${digit} ib`,
      `${name} rmv iv : 81 /${digit} iv`,
    );
  });
  for (const [name, digit] of SHIFTS) {
    rows.push(
      `${name} rm8 1 : D0 /${digit}`,
      `${name} rmv 1 : D1 /${digit}`,
      `${name} rm8 cl : D2 /${digit}`,
      `${name} rmv cl : D3 /${digit}`,
      `${name} rm8 ib : C0 /${digit} ib`,
      `${name} rmv ib : C1 /${digit} ib`,
    );
  }
  CONDITIONS.forEach((names, code) => {
    for (const name of names) {
      rows.push(
        `j${name} rel8 : ${hex(0x70 + code)} jb`,
        `j${name} relv : 0F ${hex(0x80 + code)} jv`,
        `set${name} rm8 : 0F ${hex(0x90 + code)} /0`,
        `cmov${name} rv rmv : 0F ${hex(0x40 + code)} /r`,
      );
    }
  });
  return rows;
}

const VARIABLE_OPERAND = /^(rv|rmv|iv|sb|eAX|relv|ptr|mf)$/;
const VARIABLE_TOKEN = /^(iv|jv|p)$/;
const OPCODE_BYTE = /^[0-9A-Fa-f]{2}$/;

function parseRow(row: string): readonly [string, Form] {
  const [left, right] = row.split(" : ");
  const [mnemonic, ...operands] = left!.trim().split(" ");
  const opcode: number[] = [];
  const tokens: string[] = [];
  for (const token of right!.trim().split(" ")) {
    if (OPCODE_BYTE.test(token)) opcode.push(Number.parseInt(token, 16));
    else tokens.push(token);
  }
  const fixedSize = tokens.includes("o16") ? 16 : tokens.includes("o32") ? 32 : undefined;
  const variable =
    fixedSize === undefined &&
    (operands.some((o) => VARIABLE_OPERAND.test(o)) || tokens.some((t) => VARIABLE_TOKEN.test(t)));
  return [mnemonic!, { operands: operands as OperandClass[], opcode, tokens, variable, fixedSize }];
}

/** Every form of every mnemonic, the preferred (shorter) ones first. */
export const INSTRUCTIONS: ReadonlyMap<string, readonly Form[]> = (() => {
  const table = new Map<string, Form[]>();
  for (const row of [...ROWS.trim().split("\n"), ...families()]) {
    const [mnemonic, form] = parseRow(row);
    const forms = table.get(mnemonic);
    if (forms === undefined) table.set(mnemonic, [form]);
    else forms.push(form);
  }
  return table;
})();
