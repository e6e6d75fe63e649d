/**
 * Just enough of an assembler to write the native runner: bytes, labels and the few instructions it uses. On purpose
 * independent of src/isa, which it helps to test.
 */

/** Register numbers as instructions encode them. */
export const R = { eax: 0, ecx: 1, edx: 2, ebx: 3, esp: 4, ebp: 5, esi: 6, edi: 7 } as const;
type Register = (typeof R)[keyof typeof R];

/** Condition codes as Jcc encodes them. */
export const CC = { b: 2, e: 4, ne: 5 } as const;

/** Collects 32-bit machine code for a fixed origin. */
export class Emitter {
  readonly origin: number;
  readonly #bytes: number[] = [];
  readonly #labels = new Map<string, number>();
  readonly #fixups: { at: number; label: string; relative: boolean }[] = [];

  constructor(origin: number) {
    this.origin = origin;
  }

  label(name: string): void {
    this.#labels.set(name, this.#bytes.length);
  }

  raw(...bytes: number[]): void {
    this.#bytes.push(...bytes);
  }

  dword(value: number): void {
    this.raw(value & 0xff, (value >>> 8) & 0xff, (value >>> 16) & 0xff, value >>> 24);
  }

  /** MOV register, immediate. */
  mov(register: Register, value: number): void {
    this.raw(0xb8 | register);
    this.dword(value);
  }

  /** MOV register, address of a label. */
  movLabel(register: Register, label: string): void {
    this.raw(0xb8 | register);
    this.#fixup(label, false);
  }

  /** MOV register, [address]. */
  load(register: Register, address: number): void {
    this.raw(0x8b, (register << 3) | 5);
    this.dword(address);
  }

  /** MOV [address], register. */
  store(address: number, register: Register): void {
    this.raw(0x89, (register << 3) | 5);
    this.dword(address);
  }

  jmp(label: string): void {
    this.raw(0xe9);
    this.#fixup(label, true);
  }

  jcc(condition: number, label: string): void {
    this.raw(0x0f, 0x80 | condition);
    this.#fixup(label, true);
  }

  /** REP MOVSD of `count` dwords from `source` to `target`; changes ecx, esi and edi. */
  copy(target: number, source: number, count: number): void {
    this.mov(R.edi, target);
    this.mov(R.esi, source);
    this.mov(R.ecx, count);
    this.raw(0xf3, 0xa5);
  }

  /** A system call through INT 80h with immediate arguments; `undefined` leaves the register as it is. */
  systemCall(number: number, ...args: (number | undefined)[]): void {
    const order = [R.ebx, R.ecx, R.edx, R.esi] as const;
    for (const [i, value] of args.entries()) if (value !== undefined) this.mov(order[i] as Register, value);
    this.mov(R.eax, number);
    this.raw(0xcd, 0x80);
  }

  /** The machine code, labels resolved. */
  finish(): Uint8Array {
    for (const { at, label, relative } of this.#fixups) {
      const place = this.#labels.get(label);
      if (place === undefined) throw new Error(`label ${label} is not defined`);
      const value = relative ? place - (at + 4) : this.origin + place;
      for (let i = 0; i < 4; i++) this.#bytes[at + i] = (value >>> (8 * i)) & 0xff;
    }
    return Uint8Array.from(this.#bytes);
  }

  #fixup(label: string, relative: boolean): void {
    this.#fixups.push({ at: this.#bytes.length, label, relative });
    this.dword(0);
  }
}
