/** What the firmware configuration device holds for a machine: for SeaBIOS, and others that know it. */
import { FW_CFG } from "../devices/fw-cfg.ts";
import { acpiTables, FACS_BYTES, RSDP, rootPointer } from "./acpi/tables.ts";
import type { Board } from "./board.ts";
import { ByteWriter } from "./tables/byte-writer.ts";
import { smbios } from "./tables/smbios.ts";

const RAM = 1;
const MB = 0x100000;
/** Commands of "etc/table-loader" (QEMU docs/specs/acpi_hw_reduced and bios-linker-loader): 128 bytes each. */
const LOADER = { ALLOCATE: 1, ADD_POINTER: 2, ADD_CHECKSUM: 3, BYTES: 128, NAME_BYTES: 56 } as const;
const ZONE = { HIGH: 1, FSEG: 2 } as const;
const RSDP_ALIGNMENT = 16;
const TABLES = "etc/acpi/tables";
const ROOT_POINTER = "etc/acpi/rsdp";

/** What goes into the device. */
export interface FirmwareItems {
  readonly items: ReadonlyMap<number, Uint8Array>;
  readonly files: ReadonlyMap<string, Uint8Array>;
}

const number = (value: number, bytes: number): Uint8Array => new ByteWriter().put(value, bytes).done();

/** ACPI tables, and the commands by which firmware places them. */
function acpiFiles(board: Board): [string, Uint8Array][] {
  const block = acpiTables(board);
  const commands: Uint8Array[] = [];
  const command = (kind: number, names: readonly string[], write: (out: ByteWriter) => void): void => {
    const out = new ByteWriter().put(kind, 4);
    for (const name of names) out.text(name.padEnd(LOADER.NAME_BYTES, "\0"));
    write(out);
    commands.push(out.align(LOADER.BYTES).done());
  };
  const checksum = (name: string, at: number, start: number, length: number): void =>
    command(LOADER.ADD_CHECKSUM, [name], (out) => out.put(at, 4).put(start, 4).put(length, 4));
  const pointer = (name: string, at: number, size: number): void =>
    command(LOADER.ADD_POINTER, [name, TABLES], (out) => out.put(at, 4).put(size, 1));
  command(LOADER.ALLOCATE, [TABLES], (out) => out.put(FACS_BYTES, 4).put(ZONE.HIGH, 1));
  command(LOADER.ALLOCATE, [ROOT_POINTER], (out) => out.put(RSDP_ALIGNMENT, 4).put(ZONE.FSEG, 1));
  for (const { at, size } of block.pointers) pointer(TABLES, at, size);
  const tables = block.bytes.slice();
  for (const { at, start, length } of block.checksums) {
    tables[at] = 0;
    checksum(TABLES, at, start, length);
  }
  const root = rootPointer(block.rsdt, block.xsdt);
  root[RSDP.CHECKSUM] = root[RSDP.CHECKSUM_2] = 0;
  pointer(ROOT_POINTER, RSDP.RSDT, 4);
  pointer(ROOT_POINTER, RSDP.XSDT, 8);
  checksum(ROOT_POINTER, RSDP.CHECKSUM, 0, RSDP.BYTES_1);
  checksum(ROOT_POINTER, RSDP.CHECKSUM_2, 0, RSDP.BYTES);
  const loader = new ByteWriter();
  for (const bytes of commands) loader.bytes(...bytes);
  return [
    [TABLES, tables],
    [ROOT_POINTER, root],
    ["etc/table-loader", loader.done()],
  ];
}

/**
 * Items for a machine with this display BIOS, whose firmware shows its boot menu's prompt for `bootMenuMs`; 0: not at
 * all.
 */
export function firmwareItems(board: Board, bootMenuMs: number, vgaBios: Uint8Array): FirmwareItems {
  const { memory } = board;
  const description = smbios({
    memory,
    acpi: board.acpi,
    version: "1.0",
    date: "01/01/2026",
    processor: board.processor,
  });
  return {
    items: new Map([
      [FW_CFG.RAM_SIZE, number(memory, 8)],
      [FW_CFG.PROCESSORS, number(1, 2)],
      [FW_CFG.MAX_PROCESSORS, number(1, 2)],
      [FW_CFG.BOOT_MENU, number(bootMenuMs > 0 ? 1 : 0, 2)],
    ]),
    files: new Map([
      ["etc/e820", new ByteWriter().put(0, 8).put(Math.max(memory, MB), 8).put(RAM, 4).done()],
      ["etc/show-boot-menu", number(bootMenuMs > 0 ? 1 : 0, 8)],
      ["etc/boot-menu-wait", number(bootMenuMs, 8)],
      ["vgaroms/vgabios.bin", vgaBios],
      ["etc/smbios/smbios-tables", description.structures],
      ["etc/smbios/smbios-anchor", description.entryPoint(0)],
      ...(board.acpi ? acpiFiles(board) : []),
    ]),
  };
}
