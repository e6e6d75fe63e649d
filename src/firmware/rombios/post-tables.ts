/** POST writes what systems look for: $PIR, MP table, SMBIOS, ACPI. */
import type { GuestMemory } from "../../hypervisor/device.ts";
import { acpiTables, facsTable, placed, rootPointer } from "../acpi/tables.ts";
import { acpiPlaces, type Board, hasAcpiTables } from "../board.ts";
import { mpPointer, mpTable } from "../tables/mp.ts";
import { interruptRouting } from "../tables/pir.ts";
import { smbios } from "../tables/smbios.ts";
import { ROM } from "./layout.ts";

/** Systems look at every 16th byte. */
const ALIGNMENT = 16;
const BIOS = { VERSION: "1.0", DATE: "01/01/2026" } as const;

/** Write all tables. The system ROM's lower half, which nothing else uses, is memory that can be written now. */
export function writeTables(memory: GuestMemory, board: Board): void {
  let at: number = ROM.BASE;
  const put = (bytes: Uint8Array): number => {
    const here = at;
    memory.write(here, bytes);
    at = Math.ceil((here + bytes.length) / ALIGNMENT) * ALIGNMENT;
    return here;
  };
  put(interruptRouting());
  if (board.apic) put(mpPointer(put(mpTable(board.processor))));
  const withAcpi = board.acpi && hasAcpiTables(board.memory);
  const description = smbios({
    memory: board.memory,
    acpi: withAcpi,
    version: BIOS.VERSION,
    date: BIOS.DATE,
    processor: board.processor,
  });
  put(description.entryPoint(put(description.structures)));
  if (!withAcpi) return;
  const { tables, facs } = acpiPlaces(board.memory);
  const block = acpiTables(board, facs);
  memory.write(tables, placed(block, tables));
  memory.write(facs, facsTable());
  put(rootPointer(tables + block.rsdt, tables + block.xsdt));
}
