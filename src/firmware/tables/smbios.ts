/** SMBIOS 2.8: what management software reads about the machine. DMTF DSP0134 2.8.0. */
import type { ProcessorIdentity } from "../board.ts";
import { ByteWriter, checksum } from "./byte-writer.ts";

const VERSION = { MAJOR: 2, MINOR: 8, BCD: 0x28 } as const;
const ENTRY_BYTES = 31;
const ENTRY = { CHECKSUM: 4, INTERMEDIATE: 0x10, INTERMEDIATE_CHECKSUM: 0x15 } as const;
const END_OF_STRINGS = 0;
/** Structures by type; a machine has one of each, and its handle is 100h times the type. */
const TYPE = {
  BIOS: 0,
  SYSTEM: 1,
  CHASSIS: 3,
  PROCESSOR: 4,
  MEMORY_ARRAY: 16,
  MEMORY_DEVICE: 17,
  ARRAY_ADDRESS: 19,
  BOOT: 32,
  END: 127,
} as const;
const NO_HANDLE = 0xffff;
const NOT_PROVIDED = 0xfffe;
const KB = 1024;
const MB = 1024 * KB;
/** BIOS characteristics (7.1.1): PCI, Plug and Play, APM, shadowing, boot from CD, selectable boot, EDD. */
const BIOS_CHARACTERISTICS = [7, 9, 10, 12, 15, 16, 19].reduce((bits, bit) => bits + 2 ** bit, 0);
/** Extension bytes: ACPI; BIOS Boot Specification, virtual machine. */
const BIOS_EXTENSION = { ACPI: 1 << 0, BBS: 1 << 0, VIRTUAL_MACHINE: 1 << 4 } as const;
const BIOS_SEGMENT = 0xf000;
const BIOS_KB = 64;
const UNKNOWN = 2;
const SAFE = 3;
const OTHER = 1;
/** Memory array: system board, system memory, no error correction; device: DIMM, RAM. */
const MEMORY = { BOARD: 3, SYSTEM: 3, NO_ECC: 3, DIMM: 9, RAM: 7, SIZE_IN_KB: 0x8000, LARGEST_MB: 0x7fff } as const;
const CHASSIS_OTHER = 1;
const PROCESSOR = { CENTRAL: 3, FAMILY_OTHER: 1, ENABLED: 0x41, UPGRADE_NONE: 6 } as const;
const WAKE_UP_SWITCH = 6;

/** What the structures tell. */
export interface SmbiosFacts {
  /** Bytes of RAM. */
  readonly memory: number;
  readonly acpi: boolean;
  readonly version: string;
  /** MM/DD/YYYY. */
  readonly date: string;
  readonly processor: ProcessorIdentity;
}

/** All structures, one after the other, with their number and the largest one's size. */
interface Structures {
  readonly bytes: Uint8Array;
  readonly count: number;
  readonly largest: number;
}

function structures(facts: SmbiosFacts): Structures {
  const out = new ByteWriter();
  let count = 0;
  let largest = 0;
  const add = (type: number, write: (body: ByteWriter) => void, ...strings: readonly string[]): void => {
    const body = new ByteWriter();
    write(body);
    const start = out.length;
    out
      .bytes(type, body.length + 4)
      .put(type << 8, 2)
      .bytes(...body.done());
    for (const string of strings) out.text(string).bytes(0);
    if (strings.length === 0) out.bytes(0);
    out.bytes(END_OF_STRINGS);
    count++;
    largest = Math.max(largest, out.length - start);
  };
  const megabytes = Math.ceil(facts.memory / MB);
  add(
    TYPE.BIOS,
    (body) =>
      body
        .bytes(1, 2)
        .put(BIOS_SEGMENT, 2)
        .bytes(3, BIOS_KB / 64 - 1)
        .put(BIOS_CHARACTERISTICS, 8)
        .bytes(facts.acpi ? BIOS_EXTENSION.ACPI : 0, BIOS_EXTENSION.BBS | BIOS_EXTENSION.VIRTUAL_MACHINE)
        .bytes(0, 1, 0xff, 0xff),
    "vmxon",
    facts.version,
    facts.date,
  );
  add(
    TYPE.SYSTEM,
    (body) => body.bytes(1, 2, 3, 0).put(0, 16).bytes(WAKE_UP_SWITCH, 0, 0),
    "vmxon",
    "PC (440FX, PIIX)",
    facts.version,
  );
  add(
    TYPE.CHASSIS,
    (body) => body.bytes(1, CHASSIS_OTHER, 0, 0, 0, SAFE, SAFE, SAFE, UNKNOWN).put(0, 4).bytes(0, 1, 0, 0, 0),
    "vmxon",
  );
  add(
    TYPE.PROCESSOR,
    (body) =>
      body
        .bytes(1, PROCESSOR.CENTRAL, PROCESSOR.FAMILY_OTHER, 2)
        .put(facts.processor.signature, 4)
        .put(facts.processor.features, 4)
        .bytes(0, 0)
        .put(0, 6)
        .bytes(PROCESSOR.ENABLED, PROCESSOR.UPGRADE_NONE)
        .put(NO_HANDLE, 2)
        .put(NO_HANDLE, 2)
        .put(NO_HANDLE, 2)
        .bytes(0, 0, 0, 1, 1, 1)
        .put(0, 2)
        .put(OTHER, 2),
    "CPU 0",
    facts.processor.maker,
  );
  add(TYPE.MEMORY_ARRAY, (body) =>
    body
      .bytes(MEMORY.BOARD, MEMORY.SYSTEM, MEMORY.NO_ECC)
      .put(megabytes * KB, 4)
      .put(NOT_PROVIDED, 2)
      .put(1, 2)
      .put(0, 8),
  );
  const inKb = megabytes > MEMORY.LARGEST_MB || facts.memory % MB !== 0;
  add(
    TYPE.MEMORY_DEVICE,
    (body) =>
      body
        .put(TYPE.MEMORY_ARRAY << 8, 2)
        .put(NOT_PROVIDED, 2)
        .put(NO_HANDLE, 2)
        .put(NO_HANDLE, 2)
        .put(inKb ? MEMORY.SIZE_IN_KB | Math.floor(facts.memory / KB) : megabytes, 2)
        .bytes(MEMORY.DIMM, 0, 1, 0, MEMORY.RAM)
        .put(0, 2)
        .put(0, 2)
        .bytes(2, 0, 0, 0, 0)
        .put(0, 4)
        .put(0, 2)
        .put(0, 6),
    "DIMM 0",
    "vmxon",
  );
  add(TYPE.ARRAY_ADDRESS, (body) =>
    body
      .put(0, 4)
      .put(Math.ceil(facts.memory / KB) - 1, 4)
      .put(TYPE.MEMORY_ARRAY << 8, 2)
      .bytes(1)
      .put(0, 16),
  );
  add(TYPE.BOOT, (body) => body.put(0, 6).bytes(0));
  add(TYPE.END, () => {});
  return { bytes: out.done(), count, largest };
}

/** The structures, and the entry point for a place at which they stand. */
export function smbios(facts: SmbiosFacts): {
  readonly structures: Uint8Array;
  entryPoint(address: number): Uint8Array;
} {
  const { bytes, count, largest } = structures(facts);
  return {
    structures: bytes,
    entryPoint(address) {
      const out = new ByteWriter()
        .text("_SM_")
        .bytes(0, ENTRY_BYTES, VERSION.MAJOR, VERSION.MINOR)
        .put(largest, 2)
        .bytes(0)
        .put(0, 5)
        .text("_DMI_")
        .bytes(0)
        .put(bytes.length, 2)
        .put(address, 4)
        .put(count, 2)
        .bytes(VERSION.BCD);
      const entry = out.done();
      entry[ENTRY.INTERMEDIATE_CHECKSUM] = checksum(entry.subarray(ENTRY.INTERMEDIATE));
      entry[ENTRY.CHECKSUM] = checksum(entry);
      return entry;
    },
  };
}
