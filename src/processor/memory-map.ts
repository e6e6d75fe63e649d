/**
 * Where things stand in a domain's WebAssembly memory. One vCPU now; each further one adds a state page and tables.
 * Untouched pages cost no host memory, so the flat tables are reserved whole.
 */

const KIB = 1024;
const MIB = 1024 * KIB;

/** Entries of one shadow table: one for each page of a 32-bit linear space. */
export const TABLE_ENTRIES = 1 << 20;
const TABLE_BYTES = TABLE_ENTRIES * 4;

/** Where slow accesses put a value that could not be loaded from one place, and one on its way out; 16 bytes each. */
export const READ_SLOT = 64;
export const WRITE_SLOT = 80;
/** Operation record of an instruction that a compiled region calls. */
export const REGION_RECORD = 160;
/** What the paging unit keeps in memory. */
export const MMU = {
  /** Numbers of the fill log's first record in use, and of the next one to write. */
  start: 96,
  head: 100,
  /** Entries in GLOBAL_FILLS. */
  globalCount: 104,
  /** u64: guest-physical address that the last fill came to. */
  address: 112,
  /** Eight bytes of ones: what page tables outside of memory read as. */
  allOnes: 120,
  /** Machine offsets of the current page directories, by bits 31-30 of the linear address; for restoring. */
  directories: 128,
  /** Counters: entries filled, page faults found. */
  fills: 144,
  faults: 148,
  /** Machine offset from which on there is memory of devices: writing to it is noted (`AddressSpaces.takeWritten`). */
  devices: 152,
} as const;
/** One byte for each 4 MiB of linear space: a large page was cut into entries there, and INVLPG must clear them all. */
export const LARGE_REGIONS = 1 * KIB;
export const LARGE_REGION_COUNT = 1024;
/** State page of vCPU 0. */
export const STATE = 4 * KIB;
/** One block cut short, or one instruction decoded for a single execution. */
export const SCRATCH_BLOCK = 8 * KIB;
/** One byte for each port: PORT_KIND. Filled in by a hypervisor that serves ports without exits. */
export const PORT_CLASS = 64 * KIB;
/** The byte that each port reads as where its kind says so. */
export const PORT_BYTES = 128 * KIB;
export const PORT_COUNT = 1 << 16;
/**
 * What an access of one byte to a port does: it exits; it is served by the hypervisor; it is over at once, since nobody is
 * there and PORT_BYTES holds what then is read; or PORT_BYTES keeps what is written. Wider ones are served.
 */
export const PORT_KIND = { exit: 0, device: 1, none: 2, latch: 3 } as const;
/**
 * How often entries of each shadow table were dropped, one word a table (see {@link mappingEpoch}): what was found true of
 * its entries at the same count still is.
 */
export const MAPPING_EPOCHS = 2 * KIB;
/** From an address in a shadow table to the number of the table: tables are aligned to their size. */
export const TABLE_SHIFT = 22;
/** Blocks by machine address: HASH_ENTRIES records of {machine address, mode key, block, compiled code or 0}. */
export const BLOCK_HASH = 1 * MIB;
export const HASH_ENTRIES = 1 << 17;
export const HASH_STRIDE = 16;
/** Offset of the reference to compiled code in a record of the hash. */
export const HASH_CODE = 12;
/** Addresses of the entries of global pages. */
export const GLOBAL_FILLS = 3 * MIB;
export const GLOBAL_FILL_CAPACITY = 1 << 16;
/** Bits of 128-byte granules that hold decoded code, one word a machine page. */
export const CODE_BITS = 4 * MIB;
/**
 * For each machine page a word: address of the entry of a write table that leads to it plainly, or did, or
 * WRITABLE_MANY, or 0 for none. Tells which entries change when the page comes to hold code.
 */
export const WRITABLE = 6 * MIB;
export const WRITABLE_MANY = 1;
/** p2m: machine offset of each guest page frame | type, for 4 GiB of guest-physical space. */
export const P2M = 8 * MIB;
/** Shadow tables of the current address space: linear page → machine page, by access and privilege. See `shadow.ts`. */
export const SHADOW = {
  readSupervisor: 12 * MIB,
  writeSupervisor: 12 * MIB + TABLE_BYTES,
  executeSupervisor: 12 * MIB + 2 * TABLE_BYTES,
  readUser: 12 * MIB + 3 * TABLE_BYTES,
  writeUser: 12 * MIB + 4 * TABLE_BYTES,
  executeUser: 12 * MIB + 5 * TABLE_BYTES,
} as const;
/** Distance from the supervisor's to the user's tables. */
export const USER_TABLES = SHADOW.readUser - SHADOW.readSupervisor;
/** From a read table to the write and execute tables of the same privilege. */
export const WRITE_TABLE = TABLE_BYTES;
export const EXECUTE_TABLE = 2 * TABLE_BYTES;
/** The fill log (`fill-log.ts`). */
export const FILL_LOG = 36 * MIB;
export const FILL_LOG_RECORDS = 1 << 16;
/** One record: where the entry stands, the entry, and address and value of the PTE and PDE that justify it. */
export const FILL_RECORD = {
  slot: 0,
  entry: 4,
  pteAt: 8,
  pte: 12,
  pteHigh: 16,
  pdeAt: 20,
  pde: 24,
  pdeHigh: 28,
} as const;
export const FILL_RECORD_BYTES = 32;
/** Slots of the function table: some for the interpreter's arms, all others for compiled regions. */
export const FUNCTION_SLOTS = 1 << 14;
/** A record for each compiled region, by its slot in the function table; slot 0 is no region's. */
export const REGIONS = 38 * MIB;
export const REGION_SHIFT = 7;
export const REGION = {
  /** u32: how often it was entered from outside. */
  entries: 0,
  /** Mapping epoch of its execute table at which all its pages were mapped as it was compiled for, and where: its origin. */
  epoch: 4,
  origin: 8,
  /** Its pages: how many, then for each REGION_PAGE. */
  pageCount: 12,
  pages: 16,
  /**
   * u64: guest instructions executed in it, in slot 0 those of all regions; only where regions are compiled to count
   * them.
   */
  instructions: 80,
} as const;
/** A page of a region: bytes from the origin's linear page, and machine offset. */
export const REGION_PAGE = { distance: 0, machine: 4 } as const;
export const REGION_PAGE_SHIFT = 3;
/** Words that hold a reference to the compiled code at a machine address, or 0: jumps from one region to another. */
export const LINKS = 40 * MIB;
export const LINK_COUNT = 1 << 17;
/** Where calls return to, a ring for each mode key: {@link RETURNS}. */
export const RETURN_STACKS = LINKS + LINK_COUNT * 4;
/** A ring of records {EIP, reference to compiled code or 0}, and behind it the offset of the latest one. */
export const RETURNS = { entries: 32, recordShift: 3, top: 256, stride: 512 } as const;
/** Decoded operations. */
export const OPERATIONS = 41 * MIB;
export const OPERATIONS_BYTES = 23 * MIB;
/** Machine memory: guest RAM, ROM images in it. Machine offsets are offsets in the WebAssembly memory. */
export const MACHINE = 64 * MIB;

/** Bytes of machine memory beside RAM: 16 MiB of a display, ROM images, what stands in for devices. */
export const DEVICE_MEMORY = 18 * MIB;
/** Largest guest RAM in bytes: machine offsets must stay positive as signed words, with DEVICE_MEMORY behind it. */
export const MAX_RAM = 1952 * MIB;

/** Bytes of code granularity for self-modifying code. */
export const GRANULE_SHIFT = 7;

/** Address of the record of the region in a slot of the function table. */
export function regionRecordAt(slot: number): number {
  return REGIONS + (slot << REGION_SHIFT);
}

/** Address of the mapping epoch of the shadow table at `table`. */
export function mappingEpoch(table: number): number {
  return MAPPING_EPOCHS + (table >>> TABLE_SHIFT) * 4;
}
