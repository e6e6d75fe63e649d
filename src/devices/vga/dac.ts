/**
 * The colour look-up table (INMOS IMS G171 as IBM wired it): 256 colours of 3 × 6 bits behind four ports.
 *
 * | port | read            | write                                           |
 * |------|-----------------|-------------------------------------------------|
 * | 3C6h | pixel mask      | pixel mask                                      |
 * | 3C7h | 0 write, 3 read | address; load that colour, step the address     |
 * | 3C8h | address         | address; the next three data writes are a colour |
 * | 3C9h | component       | component; the third stores or loads a colour   |
 */

/** Answers of the state port 3C7h. */
const DAC_STATE = { WRITE: 0, READ: 3 } as const;
const COMPONENT_MASK = 0x3f;
const OPAQUE = 0xff000000;

/** Plain data of a {@link Dac}. */
export interface DacState {
  readonly colors: Uint8Array;
  readonly hold: Uint8Array;
  readonly mask: number;
  readonly address: number;
  readonly component: number;
  readonly reading: boolean;
}

/** The palette DAC. All port values are bytes. */
export class Dac {
  /** 256 × red, green, blue; 6 bits each, or 8 while {@link wide}. */
  readonly colors = new Uint8Array(256 * 3);
  /** The same colours for canvases: bytes red, green, blue, alpha in memory order. */
  readonly rgba = new Uint32Array(256).fill(OPAQUE);
  mask = 0xff;
  readonly #hold = new Uint8Array(3);
  #address = 0;
  #component = 0;
  #reading = false;
  #wide = false;

  /** Whether components have eight bits instead of six (an extension of the display interface). */
  get wide(): boolean {
    return this.#wide;
  }

  set wide(wide: boolean) {
    if (wide === this.#wide) return;
    this.#wide = wide;
    for (let i = 0; i < 256; i++) this.#paint(i);
  }

  reset(): void {
    this.#wide = false;
    this.colors.fill(0);
    this.rgba.fill(OPAQUE);
    this.mask = 0xff;
    this.#hold.fill(0);
    this.#address = 0;
    this.#component = 0;
    this.#reading = false;
  }

  get status(): number {
    return this.#reading ? DAC_STATE.READ : DAC_STATE.WRITE;
  }

  get address(): number {
    return this.#address;
  }

  setReadAddress(value: number): void {
    this.#address = value;
    this.#component = 0;
    this.#reading = true;
    this.#load();
  }

  setWriteAddress(value: number): void {
    this.#address = value;
    this.#component = 0;
    this.#reading = false;
  }

  readData(): number {
    const value = this.#hold[this.#component]!;
    if (++this.#component === 3) {
      this.#component = 0;
      this.#load();
    }
    return value;
  }

  writeData(value: number): void {
    this.#hold[this.#component] = this.#wide ? value : value & COMPONENT_MASK;
    if (++this.#component === 3) {
      this.#component = 0;
      this.colors.set(this.#hold, this.#address * 3);
      this.#paint(this.#address);
      this.#address = (this.#address + 1) & 0xff;
    }
  }

  state(): DacState {
    return {
      colors: this.colors.slice(),
      hold: this.#hold.slice(),
      mask: this.mask,
      address: this.#address,
      component: this.#component,
      reading: this.#reading,
    };
  }

  restore(state: DacState): void {
    this.colors.set(state.colors);
    this.#hold.set(state.hold);
    this.mask = state.mask;
    this.#address = state.address;
    this.#component = state.component;
    this.#reading = state.reading;
    for (let i = 0; i < 256; i++) this.#paint(i);
  }

  #load(): void {
    const at = this.#address * 3;
    for (let i = 0; i < 3; i++) this.#hold[i] = this.colors[at + i]!;
    this.#address = (this.#address + 1) & 0xff;
  }

  #paint(index: number): void {
    const at = index * 3;
    const [red, green, blue] = [this.colors[at]!, this.colors[at + 1]!, this.colors[at + 2]!];
    this.rgba[index] = this.#wide
      ? OPAQUE | (blue << 16) | (green << 8) | red
      : OPAQUE | (expand(blue) << 16) | (expand(green) << 8) | expand(red);
  }
}

/** 6-bit component to 8 bits, 3Fh becoming FFh. */
function expand(component: number): number {
  const bits = component & COMPONENT_MASK;
  return (bits << 2) | (bits >> 4);
}
