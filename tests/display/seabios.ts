/** A PC of ours with the firmware that QEMU has: SeaBIOS, and SeaVGABIOS in the adapter's expansion ROM. */
import { existsSync, readFileSync } from "node:fs";
import { createPc, type Pc } from "../../src/devices/pc.ts";
import { Vga, VIDEO_MEMORY_SIZE } from "../../src/devices/vga/vga.ts";
import type { FloppyDrive, Frame } from "../../src/hypervisor/backend.ts";
import { HvmDomain } from "../../src/hypervisor/hvm-domain.ts";
import { MemoryBackend } from "../../src/toolstack/memory-backend.ts";

const BIOS = "/usr/share/seabios/bios.bin";
const VGA_BIOS = "/usr/share/seabios/vgabios-stdvga.bin";
const MEMORY = 32 << 20;
/** The system ROM ends here. */
const ROM_END = 0x100000;
/** Guest time that all of it may take, ns. */
const PATIENCE = 600e9;

/** Whether the firmware is installed. */
export function hasSeaBios(): boolean {
  return existsSync(BIOS) && existsSync(VGA_BIOS);
}

/**
 * Boot a diskette. For each line that the guest sends on the serial line, `shown` is given the line and the picture, and
 * the guest a byte to go on; it ends when `shown` gives false. Resolves with whether it came to that.
 */
export async function runSeaBios(
  diskette: Uint8Array,
  shown: (line: string, picture: Frame) => boolean,
): Promise<boolean> {
  const hvm = new HvmDomain({ memory: MEMORY, clock: "instructions" });
  const vga = new Vga({ clock: hvm.clock, memory: hvm.deviceMemory(VIDEO_MEMORY_SIZE) });
  const drive: FloppyDrive = {
    medium: {
      backend: new MemoryBackend(diskette),
      geometry: { cylinders: 80, heads: 2, sectors: 18 },
      driveType: 4,
      writeProtected: false,
    },
    changed: false,
  };
  let line = "";
  let finished = false;
  const received = (byte: number): void => {
    line += String.fromCharCode(byte);
    if (!line.endsWith("\n")) return;
    finished = !shown(line, vga.frame());
    line = "";
    if (finished) hvm.destroy();
    else pc.uarts[0]!.receive(Uint8Array.of(0x2e));
  };
  const pc: Pc = createPc({
    bus: hvm.bus,
    memory: hvm.memory,
    clock: hvm.clock,
    intr: hvm.intr,
    a20: { set: (level) => hvm.setA20(level) },
    shadow: hvm.physical,
    reset: () => hvm.reset(),
    floppies: [drive],
    units: [],
    serial: [{ write: received }],
    vga,
    vgaRom: new Uint8Array(readFileSync(VGA_BIOS)),
    bootOrder: ["floppy"],
  });
  hvm.setInterruptController(pc.pic);
  hvm.onReset = () => pc.reset();
  const image = new Uint8Array(readFileSync(BIOS));
  hvm.addRom({ name: "SeaBIOS", base: ROM_END - image.length, image, services: new Map() });
  hvm.clock.timer(() => hvm.destroy()).arm(PATIENCE);
  await hvm.run();
  return finished;
}
