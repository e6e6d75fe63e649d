/**
 * Where things are: the BIOS data area (segment 0040h), the extended data area, and the ROM's fixed entry points.
 * Addresses of BDA fields are guest-physical; offsets of EBDA fields count from its segment.
 */

/** Guest-physical address and segment of the system BIOS. */
export const ROM = { BASE: 0xf0000, SEGMENT: 0xf000, SIZE: 0x10000 } as const;

/** BIOS data area (IBM PC/AT and PS/2 BIOS Interface Technical Reference, "BIOS data area"). */
export const BDA = {
  SERIAL_PORTS: 0x400,
  PARALLEL_PORTS: 0x408,
  EBDA_SEGMENT: 0x40e,
  EQUIPMENT: 0x410,
  BASE_MEMORY_KB: 0x413,
  SHIFT_FLAGS: 0x417,
  SHIFT_FLAGS_2: 0x418,
  ALT_KEYPAD: 0x419,
  KEYBOARD_HEAD: 0x41a,
  KEYBOARD_TAIL: 0x41c,
  KEYBOARD_BUFFER: 0x41e,
  FLOPPY_RECALIBRATED: 0x43e,
  FLOPPY_MOTORS: 0x43f,
  FLOPPY_MOTOR_TIMEOUT: 0x440,
  FLOPPY_STATUS: 0x441,
  FLOPPY_CONTROLLER_STATUS: 0x442,
  VIDEO_COLUMNS: 0x44a,
  POINTER: 0x467,
  LAST_INTERRUPT: 0x46b,
  TICKS: 0x46c,
  MIDNIGHT: 0x470,
  BREAK: 0x471,
  RESET_FLAG: 0x472,
  DISK_STATUS: 0x474,
  DISK_COUNT: 0x475,
  DISK_CONTROL: 0x476,
  PARALLEL_TIMEOUTS: 0x478,
  SERIAL_TIMEOUTS: 0x47c,
  KEYBOARD_START: 0x480,
  KEYBOARD_END: 0x482,
  VIDEO_ROWS: 0x484,
  FLOPPY_DATA_RATE: 0x48b,
  DISK_CONTROLLER_STATUS: 0x48c,
  DISK_CONTROLLER_ERROR: 0x48d,
  DISK_INTERRUPT: 0x48e,
  FLOPPY_CONTROLLER_INFO: 0x48f,
  FLOPPY_MEDIA_STATE: 0x490,
  FLOPPY_CYLINDER: 0x494,
  KEYBOARD_STATUS: 0x496,
  KEYBOARD_LEDS: 0x497,
  WAIT_POINTER: 0x498,
  WAIT_COUNT: 0x49c,
  WAIT_ACTIVE: 0x4a0,
  PRINT_SCREEN_STATUS: 0x500,
} as const;

/** The keyboard buffer's first byte and the byte after its last, as offsets in segment 0040h. */
export const KEYBOARD_BUFFER = { START: 0x1e, END: 0x3e } as const;

/** Offsets in the extended BIOS data area; 22h–2Fh are IBM's mouse fields, 3Dh and 4Dh the disk tables of INT 41h/46h. */
export const EBDA = {
  SIZE_KB: 1,
  LENGTH: 0x00,
  MOUSE_HANDLER: 0x22,
  MOUSE_FLAGS_1: 0x26,
  MOUSE_FLAGS_2: 0x27,
  MOUSE_DATA: 0x28,
  DISK_TABLE_0: 0x3d,
  DISK_TABLE_1: 0x4d,
  BOOT_INDEX: 0x60,
  APM_STATE: 0x61,
  /** Number in the boot menu's list of what was chosen there, or 0. */
  BOOT_CHOICE: 0x62,
  /** Index of the disk that is drive 80h. */
  FIRST_DISK: 0x63,
  WAIT_DEADLINE: 0x64,
  /** Drive, offset and segment with which booting goes on. */
  BOOT_DRIVE: 0x68,
  BOOT_POINTER: 0x6c,
  MENU_DEADLINE: 0x70,
  BOOT_ENTRY_COUNT: 0x74,
  /** Where a system that was suspended wants to be woken. */
  WAKE_POINTER: 0x7a,
  ROM_SCAN: 0x78,
  /** Four words that INT 74h pushes for the mouse handler. */
  MOUSE_PACKET: 0x80,
  /** Logical geometry of up to four disks: cylinders word, heads byte, sectors byte. */
  DISK_GEOMETRY: 0x90,
  /** Device parameter table extensions of INT 13h/48h, 16 bytes for each of four disks. */
  DISK_EXTENSION: 0xa0,
  /** State of idle.ts. */
  IDLE: 0xe0,
  CONVERSATION: 0x100,
  /** El Torito: the specification packet of the boot, then the fields of CD in cd-emulation.ts. */
  CD_EMULATION: 0x1a0,
  /** Lock counts of up to four CD drives. */
  CD_LOCKS: 0x1b8,
  TEXT: 0x200,
  /** As DISK_EXTENSION, for up to four CD drives. */
  CD_EXTENSION: 0x380,
  /** What option ROMs boot: see option-roms.ts. */
  BOOT_ENTRIES: 0x3c0,
} as const;

/** Longest text that fits the scratch area, its final zero included. */
export const TEXT_BYTES = 0x180;

/** Fixed entry points of the ROM, offsets in segment F000h (IBM PC/AT technical reference). */
export const ENTRY = {
  COPYRIGHT: 0xe000,
  POST: 0xe05b,
  NMI: 0xe2c3,
  INT13: 0xe3fe,
  DISK_TABLES: 0xe401,
  INT19: 0xe6f2,
  CONFIGURATION: 0xe6f5,
  BAUD_TABLE: 0xe729,
  INT14: 0xe739,
  INT16: 0xe82e,
  INT09: 0xe987,
  INT13_FLOPPY: 0xec59,
  INT0E: 0xef57,
  FLOPPY_TABLE: 0xefc7,
  INT17: 0xefd2,
  INT10: 0xf065,
  VIDEO_TABLE: 0xf0a4,
  INT12: 0xf841,
  INT11: 0xf84d,
  INT15: 0xf859,
  FONT: 0xfa6e,
  INT1A: 0xfe6e,
  INT08: 0xfea5,
  VECTORS: 0xfef3,
  IRET: 0xff53,
  INT05: 0xff54,
  RESET: 0xfff0,
  DATE: 0xfff5,
  MODEL: 0xfffe,
  CHECKSUM: 0xffff,
} as const;

/** Ports that the BIOS drives. */
export const PORT = {
  PIC1_COMMAND: 0x20,
  PIC1_DATA: 0x21,
  PIC2_COMMAND: 0xa0,
  PIC2_DATA: 0xa1,
  PIT_COUNTER0: 0x40,
  PIT_COUNTER1: 0x41,
  PIT_CONTROL: 0x43,
  KEYBOARD_DATA: 0x60,
  SYSTEM_CONTROL_B: 0x61,
  KEYBOARD_STATUS: 0x64,
  CMOS_INDEX: 0x70,
  CMOS_DATA: 0x71,
  POST_CODE: 0x80,
  SYSTEM_CONTROL_A: 0x92,
  FPU_CLEAR: 0xf0,
  JOYSTICK: 0x201,
  FLOPPY_DOR: 0x3f2,
  FLOPPY_RATE: 0x3f7,
  DMA1_CLEAR: 0x0d,
  DMA2_CLEAR: 0xda,
  DMA2_MODE: 0xd6,
  DMA2_MASK: 0xd4,
} as const;

/** CMOS registers (MC146818 and the PC/AT's use of its RAM). */
export const CMOS = {
  SECONDS: 0x00,
  SECONDS_ALARM: 0x01,
  MINUTES: 0x02,
  MINUTES_ALARM: 0x03,
  HOURS: 0x04,
  HOURS_ALARM: 0x05,
  DAY_OF_WEEK: 0x06,
  DAY: 0x07,
  MONTH: 0x08,
  YEAR: 0x09,
  STATUS_A: 0x0a,
  STATUS_B: 0x0b,
  STATUS_C: 0x0c,
  STATUS_D: 0x0d,
  DIAGNOSTIC: 0x0e,
  SHUTDOWN: 0x0f,
  FLOPPY_TYPES: 0x10,
  CENTURY: 0x32,
  /** Third boot device in the high nibble; the first and the second one. */
  BOOT_3: 0x38,
  BOOT_1_2: 0x3d,
} as const;

/** Bits of CMOS status B and C. */
export const RTC_BITS = {
  SET: 0x80,
  PERIODIC: 0x40,
  ALARM: 0x20,
  UPDATE: 0x10,
  BINARY: 0x04,
  HOURS_24: 0x02,
  DAYLIGHT: 0x01,
} as const;
