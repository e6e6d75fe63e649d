/** Benchmarks of pictures: what a front end's look costs, by mode and by how much has changed, in µs. */
import { DISPI, DISPI_ENABLE } from "../src/devices/vga/dispi.ts";
import { Vga } from "../src/devices/vga/vga.ts";
import { assemble } from "../src/firmware/assembler.ts";
import type { Clock } from "../src/hypervisor/clock.ts";
import { HvmDomain } from "../src/hypervisor/hvm-domain.ts";

/** A clock that stands: nothing blinks. */
const CLOCK: Clock = {
  now: () => 0,
  timer: () => ({ deadline: Number.POSITIVE_INFINITY, arm() {}, cancel() {} }),
  complete() {},
  wallTime: () => 0,
};
const SINK = { resize() {}, update() {} } as const;

/** Ports 3C0h … as offsets from 3B0h. */
const PORT = { ATTRIBUTE: 0x10, MISC: 0x12, SEQUENCER: 0x14, GRAPHICS: 0x1e, CRTC: 0x24, STATUS1: 0x2a } as const;
type Registers = Readonly<Record<"crtc" | "sequencer" | "graphics" | "attribute", Readonly<Record<number, number>>>>;

/** Text in 80 × 25 with nine dots, and 640 × 480 in sixteen colours: the registers that pictures depend on. */
const TEXT: Registers = {
  crtc: { 17: 0, 1: 0x4f, 7: 0x1f, 9: 0x4f, 10: 0x20, 18: 0x8f, 19: 0x28, 23: 0xa3, 24: 0xff },
  sequencer: { 1: 0, 2: 3, 4: 2 },
  graphics: { 5: 0x10, 6: 0x0e, 8: 0xff },
  attribute: { 16: 0x04, 18: 0x0f },
};
const PLANES: Registers = {
  crtc: { 17: 0, 1: 0x4f, 7: 0x3e, 9: 0x40, 18: 0xdf, 19: 0x28, 23: 0xe3, 24: 0xff },
  sequencer: { 1: 1, 2: 0x0f, 4: 6 },
  graphics: { 5: 0, 6: 5, 8: 0xff },
  attribute: { 16: 1, 18: 0x0f },
};

function program(vga: Vga, registers: Registers): void {
  const indexed = (port: number, values: Readonly<Record<number, number>>): void => {
    // Register 11h of the CRT controller protects the ones before it.
    const order = Object.keys(values).map(Number);
    for (const index of [...order.filter((i) => i === 0x11), ...order])
      vga.ports.write(port, 2, index | (values[index]! << 8));
  };
  vga.ports.write(PORT.MISC, 1, 0x63);
  indexed(PORT.CRTC, registers.crtc);
  indexed(PORT.SEQUENCER, registers.sequencer);
  indexed(PORT.GRAPHICS, registers.graphics);
  vga.ports.read(PORT.STATUS1, 1);
  for (const [index, value] of Object.entries(registers.attribute)) {
    vga.ports.write(PORT.ATTRIBUTE, 1, Number(index));
    vga.ports.write(PORT.ATTRIBUTE, 1, value);
  }
  for (let i = 0; i < 16; i++) {
    vga.ports.write(PORT.ATTRIBUTE, 1, i);
    vga.ports.write(PORT.ATTRIBUTE, 1, i);
  }
  vga.ports.write(PORT.ATTRIBUTE, 1, 0x20);
}

function linear(vga: Vga, width: number, height: number, bits: number): void {
  program(vga, PLANES);
  vga.dispi.write(DISPI.X_RESOLUTION, width);
  vga.dispi.write(DISPI.Y_RESOLUTION, height);
  vga.dispi.write(DISPI.BITS_PER_PIXEL, bits);
  vga.dispi.write(DISPI.ENABLE, DISPI_ENABLE.ENABLED);
}

/** What changes between two looks: bytes `from` to `to` of a memory. */
interface Row {
  readonly name: string;
  readonly set: (vga: Vga) => void;
  readonly memory: "memory" | "frameBuffer";
  readonly from: number;
  readonly to: number;
}

const ROWS: readonly Row[] = [
  { name: "text, nothing", set: (vga) => program(vga, TEXT), memory: "memory", from: 0x18000, to: 0x18000 },
  { name: "text, a cell", set: (vga) => program(vga, TEXT), memory: "memory", from: 0x18000, to: 0x18004 },
  { name: "text, all", set: (vga) => program(vga, TEXT), memory: "memory", from: 0x18000, to: 0x18fa0 },
  { name: "planes, a line", set: (vga) => program(vga, PLANES), memory: "memory", from: 0, to: 80 },
  { name: "planes, all", set: (vga) => program(vga, PLANES), memory: "memory", from: 0, to: 38400 },
  ...(
    [
      [1024, 768, 16],
      [1024, 768, 32],
      [1920, 1200, 32],
    ] as const
  ).flatMap(([width, height, bits]) => {
    const set = (vga: Vga): void => linear(vga, width, height, bits);
    const pitch = (width * bits) / 8;
    const name = `${width} x ${bits}`;
    return [
      { name: `${name}, nothing`, set, memory: "frameBuffer" as const, from: 0, to: 0 },
      { name: `${name}, a line`, set, memory: "frameBuffer" as const, from: 0, to: pitch },
      { name: `${name}, all`, set, memory: "frameBuffer" as const, from: 0, to: pitch * height },
    ];
  }),
];

const ROUNDS = 5;
const ROUND_MS = 100;

/** µs of a look behind each change, the best of some rounds; the change itself is not counted. */
function measure({ set, memory, from, to }: Row): number {
  const vga = new Vga({ clock: CLOCK });
  set(vga);
  const feed = vga.feed(SINK);
  feed.update();
  let best = Number.POSITIVE_INFINITY;
  let value = 0;
  for (let round = 0; round < ROUNDS; round++) {
    let time = 0;
    let looks = 0;
    for (const end = performance.now() + ROUND_MS; performance.now() < end; looks++) {
      value = (value + 0x01010101) >>> 0;
      for (let at = from; at < to; at += 4) vga[memory].write(at, 4, value);
      const start = performance.now();
      feed.update();
      time += performance.now() - start;
    }
    best = Math.min(best, (time / looks) * 1000);
  }
  return best;
}

const FRAMES = 200;
const FRAME_BUFFER = 0xe000_0000;

/** µs for each frame of 1024 × 768 × 32 that a guest fills, with or without somebody who looks at each. */
async function fill(looking: boolean): Promise<number> {
  const domain = new HvmDomain({ memory: 4 << 20, clock: "instructions" });
  const vga = new Vga({ clock: domain.clock, memory: domain.deviceMemory(16 << 20) });
  const feed = vga.feed(SINK);
  const port = (base: number, write: () => void): void =>
    domain.bus.claimPorts({ name: "bench", base, count: 1, width: 1, device: { read: () => 0, write } });
  port(0xf4, () => domain.powerOff());
  port(0xf5, () => {
    if (looking) feed.update();
  });
  domain.bus.claimMmio({
    name: "lfb",
    base: FRAME_BUFFER,
    size: vga.frameMemory.bytes.length,
    device: vga.frameBuffer,
    memory: vga.frameMemory,
  });
  const { code } = assemble(
    `mov ebx, ${FRAMES}
    again: mov edi, ${FRAME_BUFFER}
    mov eax, ebx
    mov ecx, ${1024 * 768}
    rep stosd
    out 0xf5, al
    dec ebx
    jnz again
    out 0xf4, al`,
    { origin: 0x7c00, bits: 32 },
  );
  domain.onReset = () => {
    domain.memory.write(0x7c00, code);
    domain.enter({ mode: "protected", eip: 0x7c00, esp: 0x7000 });
    linear(vga, 1024, 768, 32);
  };
  const start = performance.now();
  await domain.run();
  return ((performance.now() - start) / FRAMES) * 1000;
}

/** Run every row. */
export async function runDisplayBench(report: (name: string, us: number) => void): Promise<void> {
  for (const row of ROWS) report(row.name, measure(row));
  report("guest fills 1024 x 32, unseen", await fill(false));
  report("guest fills 1024 x 32, seen", await fill(true));
}
