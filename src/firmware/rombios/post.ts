/** Power-on self-test: brings devices, vectors and the BIOS data area to the state that boot sectors expect. */
import { CMOS_S3_RESUME } from "../../devices/pc-layout.ts";
import type { FloppyDrive } from "../../hypervisor/backend.ts";
import type { E820Entry } from "../../hypervisor/initial-state.ts";
import { FACS_SIGNATURE, FACS_WAKING_VECTOR } from "../acpi/tables.ts";
import { acpiPlaces, type Board } from "../board.ts";
import type { Service } from "../service.ts";
import { settleCdDrive } from "./atapi-post.ts";
import { Call, type Label } from "./call.ts";
import type { CdServices } from "./cdrom.ts";
import { COMMAND_BYTE, CONTROLLER, prepare, STEP } from "./conversation.ts";
import type { DiskServices } from "./disk.ts";
import { floppyCount, floppyType, mediaState } from "./floppy.ts";
import { VECTORS } from "./image.ts";
import { KEYBOARD_STATUS } from "./keyboard.ts";
import { BDA, CMOS, EBDA, ENTRY, KEYBOARD_BUFFER, PORT, ROM, RTC_BITS } from "./layout.ts";
import { addressLine20On, baseBytes, extendedBytes } from "./memory-services.ts";
import { initializeMouse } from "./mouse.ts";
import { lockRoms, nextRom, resetScan, romInitialized } from "./option-roms.ts";
import { hasChipset, setUpPci, shadowSystemRom } from "./pci-setup.ts";
import { findPorts } from "./ports.ts";
import { writeTables } from "./post-tables.ts";
import { writeText } from "./text.ts";
import { ticksFromClock } from "./time.ts";

const VECTORS_IN_TABLE = 256;
/** Vectors that programs test for zero before they use them (Ralf Brown, INT 60h–67h, 79h, F1h–FFh). */
const isFreeVector = (vector: number): boolean =>
  (vector >= 0x60 && vector <= 0x66) || vector === 0x79 || vector >= 0xf1;
const NULL_POINTERS = [0x1f, 0x41, 0x43, 0x46];

const PIC = { ICW1: 0x11, MASTER_BASE: 0x08, SLAVE_BASE: 0x70, CASCADE: 0x04, SLAVE_ID: 0x02, ICW4: 0x01 } as const;
const MASK_ALL = 0xff;
/** After POST the master takes IRQ 0, 1, 2 and 6, the slave 12, 13 and 14. */
const MASTER_MASK = 0xb8;
const SLAVE_MASK = 0x8f;

const PIT = { COUNTER0_MODE3: 0x36, COUNTER1_MODE2_LOW: 0x54, REFRESH_COUNT: 18 } as const;
const DMA_CASCADE = 0xc0;
/** Status A: 32,768 Hz time base, 1024 Hz periodic rate. */
const RTC_RATE = 0x26;
const SLAVE_REFRESH_MASK = 0;

const EQUIPMENT = { FLOPPY: 0x01, FPU: 0x02, MOUSE: 0x04, COLOR_80: 0x20, FLOPPY_COUNT_SHIFT: 6 } as const;
const DEFAULT_PRINTER_TIMEOUT = 20;
const DEFAULT_SERIAL_TIMEOUT = 1;
/** 40:8Fh, one nibble a drive: 80 tracks, several data rates, drive determined. */
const DRIVE_INFO = { TRACKS_80: 1, MULTI_RATE: 2, DETERMINED: 4 } as const;

const KEYBOARD_RESET = 0xff;
const SELF_TEST_WAIT = 10;
const BASIC_ASSURANCE_WAIT = 100;

/** CMOS 0Fh: how to go on after a reset (Ralf Brown, CMOS 0Fh); other values start POST. */
const SHUTDOWN_LABELS: Readonly<Record<number, string>> = {
  4: "shutdown_boot",
  5: "shutdown_end_of_interrupt",
  6: "shutdown_jump",
  9: "shutdown_block_move",
  10: "shutdown_jump",
  11: "shutdown_iret",
  12: "shutdown_retf",
  [CMOS_S3_RESUME.value]: "shutdown_wake",
};

const FLOPPY_NAMES = ["none", "360 KB", "1.2 MB", "720 KB", "1.44 MB", "2.88 MB"];

export interface PostDeps {
  readonly floppies: readonly (FloppyDrive | undefined)[];
  readonly disks: DiskServices;
  readonly cds: CdServices;
  readonly memoryMap: readonly E820Entry[];
  readonly board: Board;
  /** The system ROM. */
  readonly image: Uint8Array;
}

function writeVectors(call: Call, label: Label): void {
  const { memory } = call.context;
  for (let vector = 0; vector < VECTORS_IN_TABLE; vector++) {
    memory.write32(vector * 4, isFreeVector(vector) ? 0 : ((ROM.SEGMENT << 16) | ENTRY.IRET) >>> 0);
  }
  for (const vector of NULL_POINTERS) memory.write32(vector * 4, 0);
  for (const [vector, target] of VECTORS) {
    memory.write16(vector * 4, typeof target === "number" ? target : label(target));
    memory.write16(vector * 4 + 2, ROM.SEGMENT);
  }
}

function writeDataArea(call: Call, memoryMap: readonly E820Entry[]): void {
  const { memory } = call.context;
  const reset = memory.read16(BDA.RESET_FLAG);
  for (let at = BDA.SERIAL_PORTS; at <= BDA.PRINT_SCREEN_STATUS; at++) memory.write8(at, 0);
  memory.write16(BDA.RESET_FLAG, reset);
  const base = Math.floor(baseBytes(memoryMap) / 1024);
  memory.write16(BDA.BASE_MEMORY_KB, base);
  memory.write16(BDA.EBDA_SEGMENT, base * 64);
  for (let i = 0; i < EBDA.SIZE_KB * 1024; i++) memory.write8(base * 1024 + i, 0);
  memory.write8(base * 1024 + EBDA.LENGTH, EBDA.SIZE_KB);
  memory.write16(BDA.KEYBOARD_HEAD, KEYBOARD_BUFFER.START);
  memory.write16(BDA.KEYBOARD_TAIL, KEYBOARD_BUFFER.START);
  memory.write16(BDA.KEYBOARD_START, KEYBOARD_BUFFER.START);
  memory.write16(BDA.KEYBOARD_END, KEYBOARD_BUFFER.END);
  memory.write8(BDA.KEYBOARD_STATUS, KEYBOARD_STATUS.ENHANCED);
  for (let i = 0; i < 4; i++) {
    memory.write8(BDA.PARALLEL_TIMEOUTS + i, DEFAULT_PRINTER_TIMEOUT);
    memory.write8(BDA.SERIAL_TIMEOUTS + i, DEFAULT_SERIAL_TIMEOUT);
  }
}

function startControllers(call: Call): void {
  const { io } = call.context;
  io.out(PORT.DMA1_CLEAR, 1, 0);
  io.out(PORT.DMA2_CLEAR, 1, 0);
  io.out(PORT.DMA2_MODE, 1, DMA_CASCADE);
  io.out(PORT.DMA2_MASK, 1, SLAVE_REFRESH_MASK);
  io.out(PORT.PIC1_COMMAND, 1, PIC.ICW1);
  io.out(PORT.PIC1_DATA, 1, PIC.MASTER_BASE);
  io.out(PORT.PIC1_DATA, 1, PIC.CASCADE);
  io.out(PORT.PIC1_DATA, 1, PIC.ICW4);
  io.out(PORT.PIC2_COMMAND, 1, PIC.ICW1);
  io.out(PORT.PIC2_DATA, 1, PIC.SLAVE_BASE);
  io.out(PORT.PIC2_DATA, 1, PIC.SLAVE_ID);
  io.out(PORT.PIC2_DATA, 1, PIC.ICW4);
  io.out(PORT.PIC1_DATA, 1, MASK_ALL);
  io.out(PORT.PIC2_DATA, 1, MASK_ALL);
  // Counter 0, mode 3, count 65536: 18.2 Hz. Counter 1 paces memory refresh, which port 61h shows.
  io.out(PORT.PIT_CONTROL, 1, PIT.COUNTER0_MODE3);
  io.out(PORT.PIT_COUNTER0, 1, 0);
  io.out(PORT.PIT_COUNTER0, 1, 0);
  io.out(PORT.PIT_CONTROL, 1, PIT.COUNTER1_MODE2_LOW);
  io.out(PORT.PIT_COUNTER1, 1, PIT.REFRESH_COUNT);
  call.writeCmos(CMOS.STATUS_A, RTC_RATE);
  call.writeCmos(CMOS.STATUS_B, RTC_BITS.HOURS_24 | (call.readCmos(CMOS.STATUS_B) & RTC_BITS.DAYLIGHT));
  call.readCmos(CMOS.STATUS_C);
  call.readCmos(CMOS.STATUS_D);
  call.writeCmos(CMOS.DIAGNOSTIC, 0);
}

function findFloppies(call: Call, drives: PostDeps["floppies"]): number {
  const { memory } = call.context;
  let information = 0;
  for (let i = 0; i < 2; i++) {
    const type = floppyType(call, i);
    if (type === 0) continue;
    const tracks = type === 1 ? 0 : DRIVE_INFO.TRACKS_80 | DRIVE_INFO.MULTI_RATE;
    information |= (DRIVE_INFO.DETERMINED | tracks) << (4 * i);
    const drive = drives[i];
    if (drive?.medium === undefined) continue;
    memory.write8(BDA.FLOPPY_MEDIA_STATE + i, mediaState(type, drive.medium.geometry.sectors));
    // Seeking to see what the drive is has cleared its change line.
    drive.changed = false;
  }
  memory.write8(BDA.FLOPPY_CONTROLLER_INFO, information);
  const count = floppyCount(call);
  return count === 0 ? 0 : EQUIPMENT.FLOPPY | ((count - 1) << EQUIPMENT.FLOPPY_COUNT_SHIFT);
}

function prepareKeyboard(call: Call): void {
  prepare(call, [
    [STEP.COMMAND, CONTROLLER.KEYBOARD_OFF],
    [STEP.COMMAND, CONTROLLER.MOUSE_OFF],
    [STEP.FLUSH, 0],
    [STEP.COMMAND, CONTROLLER.SELF_TEST],
    [STEP.RECEIVE, SELF_TEST_WAIT],
    [STEP.COMMAND, CONTROLLER.WRITE_COMMAND],
    [STEP.DATA, COMMAND_BYTE.SYSTEM | COMMAND_BYTE.MOUSE_OFF | COMMAND_BYTE.TRANSLATE],
    [STEP.KEYBOARD, KEYBOARD_RESET],
    [STEP.RECEIVE, BASIC_ASSURANCE_WAIT],
    [STEP.COMMAND, CONTROLLER.WRITE_COMMAND],
    [
      STEP.DATA,
      COMMAND_BYTE.KEYBOARD_INTERRUPT | COMMAND_BYTE.SYSTEM | COMMAND_BYTE.MOUSE_OFF | COMMAND_BYTE.TRANSLATE,
    ],
  ]);
}

/** The system ROM runs from memory that can be written from now on. */
function shadow(call: Call, image: Uint8Array): void {
  const { io, memory } = call.context;
  if (!hasChipset(io)) return;
  shadowSystemRom(io, "writable");
  memory.write(ROM.BASE, image);
}

/** Where the system that was suspended wants to be woken, a real-mode address; 0 where it did not say. */
function wakingVector({ context: { memory } }: Call, { board }: PostDeps): number {
  const { facs } = acpiPlaces(board.memory);
  return memory.read32(facs) === FACS_SIGNATURE ? memory.read32(facs + FACS_WAKING_VECTOR) : 0;
}

/** Out of suspend to RAM: memory is as it was, the chipset is not. */
function wake(call: Call, deps: PostDeps): void {
  const { board, memoryMap } = deps;
  const { cpu, memory, io } = call.context;
  addressLine20On(call);
  startControllers(call);
  setUpPci(call.context, board);
  shadowSystemRom(io, "locked");
  lockRoms(call);
  const vector = wakingVector(call, deps);
  const segment = Math.floor(baseBytes(memoryMap) / 16);
  memory.write16(segment * 16 + EBDA.WAKE_POINTER, vector & 0x0f);
  memory.write16(segment * 16 + EBDA.WAKE_POINTER + 2, vector >>> 4);
  cpu.loadSelector("ss", segment);
  cpu.esp = EBDA.WAKE_POINTER;
}

function setUp(call: Call, label: Label, deps: PostDeps): void {
  addressLine20On(call);
  startControllers(call);
  shadow(call, deps.image);
  setUpPci(call.context, deps.board);
  writeTables(call.context.memory, deps.board);
  writeDataArea(call, deps.memoryMap);
  writeVectors(call, label);
  const equipment =
    EQUIPMENT.FPU | EQUIPMENT.MOUSE | EQUIPMENT.COLOR_80 | findPorts(call) | findFloppies(call, deps.floppies);
  call.context.memory.write16(BDA.EQUIPMENT, equipment);
  ticksFromClock(call);
  initializeMouse(call);
  resetScan(call);
  prepareKeyboard(call);
}

function megabytes(sectors: number): string {
  return `${Math.floor(sectors / 2048)} MB`;
}

function banner(call: Call, deps: PostDeps): string {
  const base = Math.floor(baseBytes(deps.memoryMap) / 1024);
  const extended = Math.floor(extendedBytes(deps.memoryMap) / 1024);
  const lines = ["vmxon BIOS", `Memory: ${base} KB base, ${extended} KB extended`];
  for (let i = 0; i < floppyCount(call); i++) {
    lines.push(`Diskette drive ${"AB"[i]}: ${FLOPPY_NAMES[floppyType(call, i)]}`);
  }
  for (const { index, medium } of deps.disks.disks) lines.push(`Disk ${index}: ${megabytes(medium.totalSectors)}`);
  for (const { drive } of deps.cds.drives) lines.push(`CD-ROM: ${drive.model}`);
  return `${lines.join("\r\n")}\r\n\r\n`;
}

function resume(call: Call, label: Label, deps: PostDeps): void {
  const reason = call.readCmos(CMOS.SHUTDOWN);
  call.writeCmos(CMOS.SHUTDOWN, 0);
  // Without a place to go on at, waking is a start.
  if (reason === CMOS_S3_RESUME.value && wakingVector(call, deps) === 0) return;
  const target = SHUTDOWN_LABELS[reason];
  if (target !== undefined) call.goTo(label(target));
}

/** Services of POST. */
export function postServices(label: Label, deps: PostDeps): Readonly<Record<string, Service>> {
  return {
    reset: (context) => resume(new Call(context), label, deps),
    post_setup: (context) => setUp(new Call(context), label, deps),
    wake: (context) => wake(new Call(context), deps),
    post_rom: (context) => {
      const call = new Call(context);
      call.stubZero = !nextRom(call);
    },
    post_rom_done: (context) => {
      const call = new Call(context);
      call.stubZero = !romInitialized(call);
    },
    post_disks: (context) => {
      for (const cd of deps.cds.drives) settleCdDrive(context.io, cd);
      return deps.disks.initialize(new Call(context));
    },
    post_finish: (context) => {
      const call = new Call(context);
      context.io.out(PORT.PIC1_DATA, 1, MASTER_MASK);
      context.io.out(PORT.PIC2_DATA, 1, SLAVE_MASK);
      lockRoms(call);
      if (hasChipset(context.io)) shadowSystemRom(context.io, "locked");
      writeText(call, banner(call, deps));
    },
  };
}
