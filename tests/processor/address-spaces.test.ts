/** What the shadow tables keep over CR3 loads: nothing that the guest's tables do not say at that time. */
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { GuestFault } from "../../src/processor/cpu.ts";
import { CR0, CR4, EFER } from "../../src/processor/registers.ts";
import { AT, Guest } from "./guest.ts";
import {
  type Access,
  entryHigh,
  entryLow,
  type Memory,
  modelWalk,
  type Outcome,
  type Setting,
  TABLES,
} from "./page-walk-model.ts";

const RAM = 16 << 20;
const DIRECTORY = { a: 0x100000, b: 0x110000 } as const;
const PAGE = 0x300000;
const INC_ECX = 0x41;

/** Entry of linear PAGE in the page table of a space. */
const entryAt = (directory: number): number => directory + 0x1000 + (PAGE >> 12) * 4;

/** Two spaces that map the first 4 MiB to itself, but PAGE to 0x200000 and 0x204000; a is current. */
function twoSpaces(): Guest {
  const guest = new Guest();
  guest.setDword(0x200000, 0xaaaa);
  guest.setDword(0x204000, 0xbbbb);
  for (const [directory, target] of [
    [DIRECTORY.a, 0x200000],
    [DIRECTORY.b, 0x204000],
  ] as const) {
    guest.setDword(directory, (directory + 0x1000) | 7);
    for (let i = 0; i < 1024; i++) guest.setDword(directory + 0x1000 + i * 4, (i << 12) | 7);
    guest.setDword(entryAt(directory), target | 7);
  }
  guest.cpu.set("cr3", DIRECTORY.a);
  guest.cpu.set("cr0", guest.cpu.get("cr0") | CR0.PG | CR0.WP);
  guest.cpu.flushAll();
  return guest;
}

const fills = (guest: Guest): number => guest.cpu.spaces.statistics.fills;

test("a guest that goes back and forth between spaces walks no tables for it", () => {
  const { cpu, ...rest } = twoSpaces();
  const guest = { cpu, ...rest } as Guest;
  const visit = (directory: number): number => {
    cpu.loadCr3(directory);
    cpu.write(PAGE + 4, 4, 1);
    return cpu.read(PAGE, 4);
  };
  assert.deepEqual([visit(DIRECTORY.a), visit(DIRECTORY.b)], [0xaaaa, 0xbbbb]);
  const before = fills(guest);
  for (let i = 0; i < 10; i++) assert.deepEqual([visit(DIRECTORY.a), visit(DIRECTORY.b)], [0xaaaa, 0xbbbb]);
  assert.equal(fills(guest), before);
  cpu.loadCr3(DIRECTORY.b);
  cpu.read(PAGE, 4);
  assert.equal(fills(guest), before, "nor for loading the same space again");
});

test("an entry that changed while its space was away, or under a load of the same space, is not used", () => {
  for (const away of [DIRECTORY.b, DIRECTORY.a]) {
    const { cpu, setDword } = bound(twoSpaces());
    assert.equal(cpu.read(PAGE, 4), 0xaaaa);
    cpu.loadCr3(away);
    setDword(entryAt(DIRECTORY.a), 0x204000 | 7);
    cpu.loadCr3(DIRECTORY.a);
    assert.equal(cpu.read(PAGE, 4), 0xbbbb);
    setDword(DIRECTORY.a, 0);
    cpu.loadCr3(DIRECTORY.a);
    assert.throws(() => cpu.read(PAGE, 4), GuestFault);
  }
});

/** Methods that can be taken off their object. */
function bound(guest: Guest): { cpu: Guest["cpu"]; setDword: Guest["setDword"]; dword: Guest["dword"] } {
  return {
    cpu: guest.cpu,
    setDword: (address, value) => guest.setDword(address, value),
    dword: (address) => guest.dword(address),
  };
}

test("accessed and dirty bits cleared meanwhile are set again by the next access", () => {
  const { cpu, setDword, dword } = bound(twoSpaces());
  cpu.write(PAGE, 4, 1);
  cpu.read(PAGE, 4);
  assert.equal(dword(entryAt(DIRECTORY.a)) & 0x60, 0x60);
  cpu.loadCr3(DIRECTORY.b);
  setDword(entryAt(DIRECTORY.a), 0x200007);
  cpu.loadCr3(DIRECTORY.a);
  cpu.read(PAGE, 4);
  assert.equal(dword(entryAt(DIRECTORY.a)) & 0x60, 0x20);
  cpu.write(PAGE, 4, 1);
  assert.equal(dword(entryAt(DIRECTORY.a)) & 0x60, 0x60);
});

test("in PAE mode the upper halves and the page-directory-pointer entries count as well", () => {
  const guest = new Guest();
  const { cpu } = guest;
  const root = 0x100000;
  const directories = [0x101000, 0x102000] as const;
  guest.setDword(0x200000, 0xaaaa);
  guest.setDword(0x204000, 0xbbbb);
  guest.setDword(root, directories[0] | 1);
  for (const [i, directory] of directories.entries()) {
    const table = 0x103000 + i * 0x1000;
    guest.setDword(directory + (PAGE >> 21) * 8, table | 7);
    guest.setDword(table + ((PAGE >> 12) & 511) * 8, (i === 0 ? 0x200000 : 0x204000) | 7);
  }
  cpu.set("cr3", root);
  cpu.set("cr4", CR4.PAE);
  cpu.set("efer", EFER.NXE);
  cpu.set("cr0", cpu.get("cr0") | CR0.PG);
  cpu.flushAll();
  const value = (): number => cpu.view.getUint32(cpu.fetch(PAGE), true);
  assert.equal(value(), 0xaaaa);
  guest.setDword(root, directories[1] | 1);
  cpu.loadCr3(root);
  assert.equal(value(), 0xbbbb);
  for (const upperHalf of [directories[1] + (PAGE >> 21) * 8 + 4, 0x104000 + ((PAGE >> 12) & 511) * 8 + 4]) {
    guest.setDword(upperHalf, 0x80000000);
    cpu.loadCr3(root);
    assert.throws(() => cpu.fetch(PAGE), GuestFault);
    guest.setDword(upperHalf, 0);
    cpu.loadCr3(root);
    assert.equal(value(), 0xbbbb);
  }
});

test("a dirty bit cleared meanwhile is set again by the next store, though the page was never away from reads", () => {
  const { cpu, setDword, dword } = bound(twoSpaces());
  cpu.write(PAGE, 4, 1);
  setDword(entryAt(DIRECTORY.a), 0x200027);
  cpu.loadCr3(DIRECTORY.a);
  cpu.write(PAGE, 4, 1);
  assert.equal(dword(entryAt(DIRECTORY.a)) & 0x60, 0x60);
});

test("a page that was code while its space was away, and becomes code once more, has its stores seen", () => {
  const guest = twoSpaces();
  const { cpu } = guest;
  const code = AT.code + 0x3000;
  guest.setDword(entryAt(DIRECTORY.a), code | 7);
  cpu.write(PAGE + 0x100, 4, 1);
  cpu.loadCr3(DIRECTORY.b);
  guest.load(code, "inc eax\nret");
  guest.load(AT.code, `call ${code}\nmov byte [${code}], 0xc3\nmov ebx, ${DIRECTORY.a}\nmov cr3, ebx\nhlt`);
  assert.equal(guest.run().kind, "halt");
  guest.load(code, "inc eax\nret");
  guest.load(AT.code, `call ${code}\nmov byte [${PAGE}], ${INC_ECX}\ncall ${code}\nhlt`);
  guest.set("eip", AT.code);
  guest.set("eax", 0);
  assert.equal(guest.run().kind, "halt");
  assert.deepEqual([guest.get("eax"), guest.get("ecx")], [1, 1]);
});

test("a page that came to hold code while its space was away has its stores seen", () => {
  const guest = twoSpaces();
  const { cpu } = guest;
  const code = AT.code + 0x3000;
  guest.setDword(entryAt(DIRECTORY.a), code | 7);
  cpu.write(PAGE + 0x100, 4, 1);
  cpu.loadCr3(DIRECTORY.b);
  guest.load(code, "inc eax\nret");
  guest.load(
    AT.code,
    `call ${code}\nmov ebx, ${DIRECTORY.a}\nmov cr3, ebx\nmov byte [${PAGE}], ${INC_ECX}\ncall ${code}\nhlt`,
  );
  assert.equal(guest.run().kind, "halt");
  assert.deepEqual([guest.get("eax"), guest.get("ecx")], [1, 1]);
});

test("pages written through several addresses have them all watched once they hold code", () => {
  const guest = twoSpaces();
  const { cpu } = guest;
  const code = AT.code + 0x3000;
  const aliases = [PAGE, 0x301000, 0x302000];
  for (const [i, alias] of aliases.entries()) {
    guest.setDword(entryAt(DIRECTORY.a) + i * 4, code | 7);
    cpu.write(alias + 0x800, 4, 1);
  }
  for (const alias of aliases) {
    guest.load(code, "inc eax\nret");
    guest.load(AT.code, `call ${code}\nmov byte [${alias}], ${INC_ECX}\ncall ${code}\nhlt`);
    for (const register of ["eax", "ecx"]) guest.set(register, 0);
    guest.set("eip", AT.code);
    assert.equal(guest.run().kind, "halt");
    assert.deepEqual([guest.get("eax"), guest.get("ecx")], [1, 1], alias.toString(16));
  }
});

test("a space of which more was used than is restored works as well", () => {
  const guest = twoSpaces();
  const { cpu } = guest;
  for (let round = 0; round < 3; round++) {
    for (const directory of [DIRECTORY.a, DIRECTORY.b]) {
      cpu.loadCr3(directory);
      for (let page = 0; page < 1024; page++) cpu.read(page << 12, 4);
      assert.equal(cpu.read(PAGE, 4), directory === DIRECTORY.a ? 0xaaaa : 0xbbbb);
    }
  }
});

test("more spaces than are remembered, and more fills than the log holds", () => {
  const guest = twoSpaces();
  const { cpu } = guest;
  const spaces = 40;
  const first = 0x400000;
  for (let i = 0; i < spaces; i++) {
    guest.setDword(first + i * 0x2000, (first + i * 0x2000 + 0x1000) | 7);
    for (let page = 0; page < 1024; page++)
      guest.setDword(first + i * 0x2000 + 0x1000 + page * 4, (0x800000 + ((page + i) << 12)) | 7);
  }
  for (let page = 0; page < 1100; page++) guest.setDword(0x800000 + (page << 12), page);
  for (let round = 0; round < 3; round++) {
    for (let i = 0; i < spaces; i++) {
      cpu.loadCr3(first + i * 0x2000);
      for (let page = 0; page < 1024; page++) assert.equal(cpu.read(page << 12, 4), page + i);
    }
  }
});

/** Mostly the same few entries and pages, so that what is edited was used. */
const index = fc.oneof({ weight: 4, arbitrary: fc.constant(0) }, fc.integer({ min: 0, max: 3 }));
/** What the property test does next. */
const step = fc.oneof(
  fc.record({ kind: fc.constant("edit" as const), table: index, slot: index, low: entryLow, high: entryHigh }),
  {
    weight: 3,
    arbitrary: fc.record({
      kind: fc.constant("flip" as const),
      table: index,
      slot: index,
      high: fc.boolean(),
      bit: fc.constantFrom(0, 1, 2, 4, 5, 6, 7, 12, 13, 31),
    }),
  },
  fc.record({ kind: fc.constant("load" as const), directory: fc.integer({ min: 0, max: 1 }) }),
  {
    weight: 4,
    arbitrary: fc.record({
      kind: fc.constant("access" as const),
      page: fc.tuple(index, index, index),
      access: fc.constantFrom<Access>("read", "write", "execute"),
      user: fc.boolean(),
    }),
  },
);

/** Each frame of RAM holds its own address here, outside of the entries that tests use. */
const NAME = 0x800;

test("after a CR3 load every access goes where the tables lead at that time, whatever was done to them", () => {
  const guest = new Guest();
  const { cpu } = guest;
  fc.assert(
    fc.property(
      fc.record({ wp: fc.boolean(), pse: fc.boolean(), pae: fc.boolean(), nxe: fc.boolean() }),
      fc.array(fc.tuple(entryLow, entryHigh), { minLength: 16, maxLength: 16 }),
      fc.array(step, { minLength: 20, maxLength: 80 }),
      (flags, entries, steps) => {
        const put = (table: number, slot: number, low: number, high: number): void => {
          if (!flags.pae) {
            guest.setDword(TABLES[table]! + slot * 4, low);
            return;
          }
          guest.setDword(TABLES[table]! + slot * 8, low);
          guest.setDword(TABLES[table]! + slot * 8 + 4, table < 1 ? 0 : high);
        };
        for (const [i, [low, high]] of entries.entries()) put(i >> 2, i & 3, low, high);
        for (let frame = 0; frame < RAM >> 12; frame++) guest.setDword((frame << 12) + NAME, frame << 12);
        cpu.set("cr0", CR0.PE | CR0.ET | CR0.PG | (flags.wp ? CR0.WP : 0));
        cpu.set("cr4", (flags.pae ? CR4.PAE : 0) | (flags.pse ? CR4.PSE : 0));
        cpu.set("efer", flags.nxe ? EFER.NXE : 0);
        cpu.set("cr3", TABLES[0]);
        cpu.flushAll();
        let edited = false;
        for (const next of steps) {
          if (next.kind === "edit") {
            put(next.table, next.slot, next.low, next.high);
            edited = true;
          } else if (next.kind === "flip") {
            const at = TABLES[next.table]! + next.slot * (flags.pae ? 8 : 4) + (flags.pae && next.high ? 4 : 0);
            guest.setDword(at, guest.dword(at) ^ (1 << next.bit));
            edited = true;
          } else if (next.kind === "load") {
            cpu.loadCr3(TABLES[next.directory]!);
            edited = false;
          } else {
            // Without a load, stale translations are allowed.
            if (edited) cpu.loadCr3(cpu.get("cr3"));
            edited = false;
            const setting: Setting = { ...flags, cr3: cpu.get("cr3") };
            const [top, middle, low] = next.page as [number, number, number];
            const linear =
              (flags.pae ? (top << 30) | (middle << 21) | (low << 12) : (middle << 22) | (low << 12)) | NAME | 0;
            const marked = new Map<bigint, bigint>();
            const expected = modelWalk(memoryOf(guest, marked), setting, linear, next.access, next.user);
            const actual = access(guest, linear, next.access, next.user);
            if (expected.address !== undefined && expected.address >= BigInt(RAM))
              assert.equal(actual.error, undefined);
            else assert.deepEqual(actual, expected, JSON.stringify({ setting, next }));
            for (const [address, value] of marked) assert.equal(BigInt(guest.dword(Number(address))), value);
          }
        }
      },
    ),
    { numRuns: 1500 },
  );
});

/** Guest memory for the model; what it writes goes to `marked`. */
function memoryOf(guest: Guest, marked: Map<bigint, bigint>): Memory {
  return {
    read: (address) =>
      marked.get(address) ?? (address < BigInt(RAM) ? BigInt(guest.dword(Number(address))) : 0xffffffffn),
    write(address, value) {
      if (address < BigInt(RAM)) marked.set(address, value);
    },
  };
}

/** The address that the accessed frame says it has; through the shadow tables where they know the page. */
function access(guest: Guest, linear: number, kind: Access, user: boolean): Outcome {
  const { cpu } = guest;
  cpu.set("cpl", user ? 3 : 0);
  cpu.updateMode();
  try {
    if (kind === "execute") {
      const machine = cpu.fetch(linear);
      return { address: BigInt(machine < 0 ? cpu.walkedAddress : cpu.view.getUint32(machine, true) + NAME) };
    }
    const value = kind === "write" ? cpu.readForWrite(linear, 4) : cpu.read(linear, 4);
    return { address: BigInt(value + NAME) };
  } catch (fault) {
    if (!(fault instanceof GuestFault)) throw fault;
    assert.equal(cpu.get("cr2"), linear);
    return { error: fault.error };
  } finally {
    cpu.set("cpl", 0);
    cpu.updateMode();
  }
}
