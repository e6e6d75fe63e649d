/** A fingerprint of plain data, large memories included: tells whether two runs ended in the identical state. */

const PRIME = { A: 0x9e3779b1, B: 0x85ebca77, C: 0xc2b2ae3d } as const;
const SEED = { LOW: 0x243f6a88, HIGH: 0x85a308d3 } as const;

/** Two lanes of 32 bits that take one word at a time; multiply, rotate and add, as xxHash's lanes do. */
class Hasher {
  #low: number = SEED.LOW;
  #high: number = SEED.HIGH;
  readonly #number = new DataView(new ArrayBuffer(8));
  readonly #text = new TextEncoder();

  word(value: number): void {
    const low = Math.imul(this.#low ^ value, PRIME.A);
    const high = Math.imul(this.#high + value, PRIME.B);
    this.#low = ((low << 15) | (low >>> 17)) + high;
    this.#high = ((high << 13) | (high >>> 19)) ^ low;
  }

  number(value: number): void {
    this.#number.setFloat64(0, value, true);
    this.word(this.#number.getInt32(0, true));
    this.word(this.#number.getInt32(4, true));
  }

  bytes(bytes: Uint8Array): void {
    this.word(bytes.length);
    const whole = bytes.length & ~3;
    if (bytes.byteOffset % 4 === 0) {
      const words = new Int32Array(bytes.buffer, bytes.byteOffset, whole >> 2);
      for (let i = 0; i < words.length; i++) this.word(words[i]!);
    } else {
      const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
      for (let at = 0; at < whole; at += 4) this.word(view.getInt32(at, true));
    }
    for (let at = whole; at < bytes.length; at++) this.word(bytes[at]!);
  }

  text(text: string): void {
    this.bytes(this.#text.encode(text));
  }

  digest(): string {
    const finish = (value: number): string => {
      const mixed = Math.imul(value ^ (value >>> 16), PRIME.C);
      return ((mixed ^ (mixed >>> 15)) >>> 0).toString(16).padStart(8, "0");
    };
    return finish(this.#high) + finish(this.#low);
  }
}

function add(hasher: Hasher, value: unknown): void {
  if (typeof value === "number") hasher.number(value);
  else if (ArrayBuffer.isView(value)) {
    hasher.bytes(new Uint8Array(value.buffer, value.byteOffset, value.byteLength));
  } else if (typeof value === "object" && value !== null) {
    const members = Object.entries(value);
    hasher.word(members.length);
    for (const [key, member] of members) {
      hasher.text(key);
      add(hasher, member);
    }
  } else hasher.text(String(value));
}

/**
 * 16 hexadecimal digits that depend on every number, string, boolean, typed array and record in `value`, on the names
 * of the members and their order. Not for security: it is easy to find two values with the same hash.
 */
export function hashPlain(value: unknown): string {
  const hasher = new Hasher();
  add(hasher, value);
  return hasher.digest();
}
