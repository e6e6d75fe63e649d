/**
 * The VGA BIOS image: 32 KB at C0000h with the option-ROM header, two stubs that trap to the services, the tables that
 * programs look for, and the fonts.
 */
import { FONT_8X8, FONT_8X14, FONT_8X16 } from "../font/font.ts";
import { FIRMWARE_PORT, type Rom, type Service, type ServiceContext } from "../service.ts";
import { placeAdapter } from "./frame-buffer.ts";
import { DISPLAY_CODE_VGA, DISPLAY_CODES, STATIC_FUNCTIONALITY } from "./info.ts";
import { int10 } from "./int10.ts";
import {
  BDA,
  CONTROL,
  farPointer,
  ROM,
  ROM_BASE,
  ROM_SEGMENT,
  ROM_SIZE,
  setVector,
  VECTOR,
  VGA_FLAGS,
} from "./layout.ts";
import { setMode } from "./mode.ts";
import { PARAMETERS } from "./modes.ts";
import { moveWindow } from "./vbe.ts";
import { VBE_TEXT } from "./vbe-info.ts";
import { PROTECTED_INTERFACE } from "./vbe-protected.ts";

const OPTION_ROM_SIGNATURE = [0x55, 0xaa] as const;
const OPTION_ROM_UNIT = 512;
/**
 * PCI data structure behind its signature: vendor, device, nothing, its length and revision, class of a VGA, length of
 * the image and its revision, code for PCs, last image (PCI Local Bus Specification 2.1, 6.3.1.2).
 */
const PCI_DATA = [
  ...[0x34, 0x12, 0x11, 0x11, 0, 0, 0x18, 0, 0, 0x00, 0x00, 0x03],
  ...[ROM_SIZE / OPTION_ROM_UNIT, 0, 1, 0, 0, 0x80, 0, 0],
];
const OUT_IMMEDIATE_AL = 0xe6;
const IRET = 0xcf;
const RETF = 0xcb;
const NAME = "vmxon VGA BIOS";
/** Length, first word of the secondary save pointer table. */
const SECONDARY_LENGTH = 0x1a;
const DISPLAY_CODES_VERSION = 1;
const HIGHEST_DISPLAY_CODE = 8;

/** Equipment word: the initial video mode is 80 columns in colour. */
const EQUIPMENT_VIDEO = 0x30;
const EQUIPMENT_COLOR_80 = 0x20;
/** Feature bits all set, switches of an enhanced colour display. */
const SWITCHES = 0xf9;
const INITIAL_MODE = 3;

/** Option-ROM entry: vectors, data area, mode 3. Also what makes an adapter usable without any BIOS run. */
export function initializeVideo(context: ServiceContext): void {
  const { memory } = context;
  const old = VECTOR.VIDEO * 4;
  const hadHandler = farPointer(memory, old) !== 0;
  const segment = hadHandler ? memory.read16(old + 2) : ROM_SEGMENT;
  setVector(memory, VECTOR.OLD_VIDEO, segment, hadHandler ? memory.read16(old) : ROM.INT_10);
  setVector(memory, VECTOR.VIDEO, ROM_SEGMENT, ROM.INT_10);
  setVector(memory, VECTOR.VIDEO_COPY, ROM_SEGMENT, ROM.INT_10);
  memory.write16(BDA.EQUIPMENT, (memory.read16(BDA.EQUIPMENT) & ~EQUIPMENT_VIDEO) | EQUIPMENT_COLOR_80);
  memory.write8(BDA.CONTROL, CONTROL.MEMORY_256K);
  memory.write8(BDA.SWITCHES, SWITCHES);
  memory.write8(BDA.VGA_FLAGS, VGA_FLAGS.ACTIVE | VGA_FLAGS.LINES_400);
  memory.write8(BDA.DISPLAY_CODE, DISPLAY_CODE_VGA);
  memory.write16(BDA.SAVE_POINTER, ROM.SAVE_POINTERS);
  memory.write16(BDA.SAVE_POINTER + 2, ROM_SEGMENT);
  placeAdapter(context);
  setMode(context, INITIAL_MODE);
}

/** Build the image and the services of its stubs. */
export function vgaBios(): Rom {
  const image = new Uint8Array(ROM_SIZE);
  const put = (offset: number, bytes: ArrayLike<number>) => image.set(bytes, offset);
  const text = (offset: number, value: string) =>
    put(
      offset,
      [...value].map((letter) => letter.charCodeAt(0)),
    );
  const pointer = (offset: number) => [offset & 0xff, offset >> 8, ROM_SEGMENT & 0xff, ROM_SEGMENT >> 8];
  const services = new Map<number, Service>();
  const stub = (offset: number, end: number, service: Service) => {
    put(offset, [OUT_IMMEDIATE_AL, FIRMWARE_PORT, end]);
    services.set(offset + 2, service);
  };

  put(0, [...OPTION_ROM_SIGNATURE, ROM_SIZE / OPTION_ROM_UNIT]);
  stub(ROM.INITIALIZE, RETF, initializeVideo);
  // Programs look for these letters to recognize an EGA or VGA.
  text(ROM.SIGNATURE, "IBM");
  stub(ROM.INT_10, IRET, int10);
  put(ROM.PCI_POINTER, [ROM.PCI_DATA & 0xff, ROM.PCI_DATA >> 8]);
  text(ROM.PCI_DATA, "PCIR");
  put(ROM.PCI_DATA + 4, PCI_DATA);
  text(ROM.NAME, NAME);
  put(ROM.PARAMETERS, PARAMETERS);
  put(ROM.SAVE_POINTERS, pointer(ROM.PARAMETERS));
  put(ROM.SAVE_POINTERS + 16, pointer(ROM.SECONDARY_SAVE_POINTERS));
  put(ROM.SECONDARY_SAVE_POINTERS, [SECONDARY_LENGTH, 0, ...pointer(ROM.DISPLAY_CODES)]);
  put(ROM.DISPLAY_CODES, [DISPLAY_CODES.length, DISPLAY_CODES_VERSION, HIGHEST_DISPLAY_CODE, 0]);
  put(ROM.DISPLAY_CODES + 4, DISPLAY_CODES.flat());
  put(ROM.STATIC_FUNCTIONALITY, STATIC_FUNCTIONALITY);
  put(ROM.FONT_8X8, FONT_8X8);
  put(ROM.FONT_8X14, FONT_8X14);
  put(ROM.FONT_8X16, FONT_8X16);
  stub(ROM.VBE_WINDOW, RETF, moveWindow);
  text(ROM.VBE_OEM, VBE_TEXT.OEM);
  text(ROM.VBE_VENDOR, VBE_TEXT.VENDOR);
  text(ROM.VBE_PRODUCT, VBE_TEXT.PRODUCT);
  text(ROM.VBE_REVISION, VBE_TEXT.REVISION);
  put(ROM.VBE_PROTECTED, PROTECTED_INTERFACE);
  // The bytes of an option ROM sum to zero.
  image[ROM_SIZE - 1] = -image.reduce((sum, byte) => sum + byte, 0) & 0xff;
  return { name: "vgabios", base: ROM_BASE, image, services };
}
