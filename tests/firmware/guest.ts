/**
 * A whole machine for tests of the ROM's guest code: it boots a program written in assembly. The program and the test
 * meet at port E9h: what the program writes there is collected, and a test may act on a character while the guest
 * stands still, so that every run is the same.
 */
import { createPc, type Pc, type PcOptions } from "../../src/devices/pc.ts";
import { Vga } from "../../src/devices/vga/vga.ts";
import { assemble } from "../../src/firmware/assembler.ts";
import { romBios } from "../../src/firmware/rombios/rom.ts";
import type { Rom } from "../../src/firmware/service.ts";
import { vgaBios } from "../../src/firmware/vgabios/rom.ts";
import { buildMemoryMap, loadFirmware } from "../../src/firmware/vmxloader.ts";
import type { FloppyDrive } from "../../src/hypervisor/backend.ts";
import { HvmDomain } from "../../src/hypervisor/hvm-domain.ts";
import type { StopReason } from "../../src/hypervisor/stop-reason.ts";
import { MemoryBackend } from "../../src/toolstack/memory-backend.ts";
import { testBoard } from "../support/board.ts";

const MB = 1024 * 1024;
const FLOPPY_BYTES = 1440 * 1024;
const SHUTDOWN_STATUS = 0x0f;

/** Routines that programs may use: `put` sends AL, `off` switches the machine off, `fail` does so after a "!". */
const LIBRARY = `
put:
  out 0E9h, al
  ret
fail:
  mov al, '!'
  out 0E9h, al
off:
  mov ax, 5301h
  xor bx, bx
  int 15h
  mov ax, 5307h
  mov bx, 1
  mov cx, 3
  int 15h
`;

const PROLOGUE = `
  cli
  cld
  xor ax, ax
  mov ds, ax
  mov es, ax
  mov ss, ax
  mov sp, 7000h
  sti
`;

/** A diskette whose boot sector is this program, at 0:7C00h. */
export function bootDiskette(program: string): FloppyDrive & { medium: NonNullable<FloppyDrive["medium"]> } {
  const bytes = new Uint8Array(FLOPPY_BYTES);
  const { code } = assemble(`${PROLOGUE}${program}${LIBRARY}`, { origin: 0x7c00 });
  if (code.length > 510) throw new Error(`the program takes ${code.length} bytes, more than a boot sector`);
  bytes.set(code);
  bytes.set([0x55, 0xaa], 510);
  return {
    medium: {
      backend: new MemoryBackend(bytes),
      geometry: { cylinders: 80, heads: 2, sectors: 18 },
      driveType: 4,
      writeProtected: false,
    },
    changed: false,
  };
}

export interface Guest {
  readonly pc: Pc;
  readonly domain: HvmDomain;
  readonly vga: Vga;
  readonly drive: FloppyDrive;
  /** What the program has written to port E9h. */
  output: string;
  /** Guest time of each character, ms. */
  readonly times: number[];
  reason: StopReason | undefined;
}

export interface GuestOptions {
  /** Called at each character that the program writes. */
  readonly on?: (character: string, guest: Guest) => void;
  readonly drive?: FloppyDrive;
  /** Called at each guest ms until it gives true; then it is called no more. */
  readonly watch?: (guest: Guest) => boolean;
  /** Option ROMs beside the VGA BIOS. */
  readonly roms?: readonly Rom[];
  readonly bootMenuMs?: number;
  readonly bootOrder?: NonNullable<PcOptions["bootOrder"]>;
  /** Guest ms after which the domain is destroyed; default 60,000. */
  readonly limit?: number;
  /** Default: the instruction clock. */
  readonly clock?: "real";
}

/** Run a program until it switches the machine off. */
export async function runGuest(program: string, options: GuestOptions = {}): Promise<Guest> {
  const domain = new HvmDomain({ memory: 4 * MB, clock: options.clock ?? "instructions" });
  const vga = new Vga({ clock: domain.clock });
  const drive = options.drive ?? bootDiskette(program);
  let keepDevices = false;
  const write = (byte: number): void => {
    const character = String.fromCharCode(byte);
    guest.output += character;
    guest.times.push(domain.clock.now() / 1e6);
    options.on?.(character, guest);
  };
  const pc: Pc = createPc({
    bus: domain.bus,
    memory: domain.memory,
    clock: domain.clock,
    intr: domain.intr,
    a20: { set: (level) => domain.setA20(level) },
    shadow: domain.physical,
    reset: () => {
      keepDevices = pc.rtc.getCmos(SHUTDOWN_STATUS) !== 0;
      domain.reset();
    },
    floppies: [drive],
    units: [],
    serial: [{ write() {} }],
    vga,
    registers: domain.registers,
    bootOrder: options.bootOrder ?? ["floppy"],
    debug: { write },
  });
  domain.setInterruptController(pc.pic);
  domain.onReset = () => {
    if (!keepDevices) pc.reset();
    keepDevices = false;
  };
  const bios = romBios({
    floppies: [drive],
    units: [],
    memoryMap: buildMemoryMap(4 * MB),
    board: testBoard(4 * MB),
    bootMenuMs: options.bootMenuMs ?? 0,
    powerOff: () => domain.powerOff(),
    activity: { instructions: () => domain.instructions(), displayGeneration: () => vga.guestGeneration },
  });
  loadFirmware(domain, [vgaBios(), ...(options.roms ?? []), bios]);
  const guest: Guest = { pc, domain, vga, drive, output: "", times: [], reason: undefined };
  const limit = domain.clock.timer(() => domain.destroy());
  limit.arm((options.limit ?? 60_000) * 1e6);
  const watch = domain.clock.timer((deadline) => {
    if (!options.watch?.(guest)) watch.arm(deadline + 1e6);
  });
  if (options.watch) watch.arm(1e6);
  guest.reason = await domain.run();
  return guest;
}

/** Press and release keys of the real keyboard, one after the other. */
export function tap(guest: Guest, ...keys: string[]): void {
  for (const key of keys) {
    guest.pc.keyboard.key(key, true);
    guest.pc.keyboard.key(key, false);
  }
}

/** Text of the screen, lines trimmed. */
export function screenText({ vga }: Guest): string {
  const screen = vga.text();
  if (screen === undefined) return "";
  const lines: string[] = [];
  for (let y = 0; y < screen.rows; y++) {
    const cells = screen.cells.subarray(y * screen.columns, (y + 1) * screen.columns);
    lines.push(String.fromCharCode(...cells.map((cell) => cell & 0xff)).replace(/[\0 ]+$/, ""));
  }
  return lines.join("\n").trimEnd();
}
