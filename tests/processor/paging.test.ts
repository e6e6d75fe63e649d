/** Page walks against a plain model of SDM 3A chapter 4, and what the translation caches may and may not remember. */
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
  pageAccess,
  type Setting,
  TABLES,
} from "./page-walk-model.ts";

const RAM = 16 << 20;

const linearAddress = fc.tuple(
  fc.integer({ min: 0, max: 3 }),
  fc.integer({ min: 0, max: 3 }),
  fc.integer({ min: 0, max: 3 }),
  fc.integer({ min: 0, max: 0xfff }),
);

interface Probe {
  readonly linear: number;
  readonly access: Access;
  readonly user: boolean;
}

test("walks agree with the model: address, error code, CR2, accessed and dirty bits", () => {
  const guest = new Guest();
  const { cpu } = guest;
  fc.assert(
    fc.property(
      fc.record({ wp: fc.boolean(), pse: fc.boolean(), pae: fc.boolean(), nxe: fc.boolean() }),
      fc.array(fc.tuple(entryLow, entryHigh), { minLength: 16, maxLength: 16 }),
      fc.array(
        fc.record({
          at: linearAddress,
          access: fc.constantFrom<Access>("read", "write", "execute"),
          user: fc.boolean(),
        }),
        { minLength: 1, maxLength: 12 },
      ),
      (flags, entries, probes) => {
        const setting: Setting = { ...flags, cr3: TABLES[0] };
        // Four entries at the start of each table; linear addresses use the first four indices of each level.
        for (const [i, table] of TABLES.entries()) {
          for (let slot = 0; slot < 4; slot++) {
            const [low, high] = entries[i * 4 + slot]!;
            if (setting.pae) {
              guest.setDword(table + slot * 8, low);
              guest.setDword(table + slot * 8 + 4, i === 0 ? 0 : high);
            } else guest.setDword(table + slot * 4, low);
          }
        }
        const shadow = new Map<bigint, bigint>();
        const model: Memory = {
          read: (address) =>
            shadow.get(address) ?? (address < BigInt(RAM) ? BigInt(guest.dword(Number(address))) : 0xffffffffn),
          write(address, value) {
            if (address < BigInt(RAM)) shadow.set(address, value);
          },
        };
        cpu.set("cr3", setting.cr3);
        cpu.set("cr0", CR0.PE | CR0.ET | CR0.PG | (setting.wp ? CR0.WP : 0));
        cpu.set("cr4", (setting.pae ? CR4.PAE : 0) | (setting.pse ? CR4.PSE : 0));
        cpu.set("efer", setting.nxe ? EFER.NXE : 0);
        for (const { at, access, user } of probes) {
          const [top, middle, low, offset] = at;
          const linear = setting.pae
            ? ((top << 30) | (middle << 21) | (low << 12) | offset) >>> 0
            : ((middle << 22) | (low << 12) | offset) >>> 0;
          const probe: Probe = { linear, access, user };
          cpu.flushAll();
          const expected = modelWalk(model, setting, linear, access, user);
          const actual = walk(guest, probe);
          assert.deepEqual(actual, expected, `${JSON.stringify(setting)} ${JSON.stringify(probe)}`);
          if (expected.error !== undefined) assert.equal(cpu.get("cr2") >>> 0, linear);
          for (const [address, value] of shadow) {
            assert.equal(BigInt(guest.dword(Number(address))), value, `entry at ${address.toString(16)}`);
          }
          shadow.clear();
        }
      },
    ),
    { numRuns: 3000 },
  );
});

function walk(guest: Guest, { linear, access, user }: Probe): Outcome {
  try {
    guest.cpu.translate(linear | 0, pageAccess(access, user));
    return { address: BigInt(guest.cpu.walkedAddress) };
  } catch (fault) {
    if (!(fault instanceof GuestFault)) throw fault;
    return { error: fault.error };
  }
}

/** Paging with a linear page at 0x300000 that tests may change; returns a reader of its first double word. */
function pageGuest(flags = 7): { guest: Guest; setEntry: (entry: number) => void; value: () => number | "fault" } {
  const guest = new Guest();
  guest.page(flags);
  guest.setDword(0x200000, 0x22222222);
  guest.setDword(0x204000, 0x44444444);
  return {
    guest,
    setEntry: (entry) => guest.setDword(0x101000 + 0x300 * 4, entry),
    value: () => {
      try {
        return guest.cpu.read(0x300000, 4);
      } catch (fault) {
        assert.ok(fault instanceof GuestFault);
        return "fault";
      }
    },
  };
}

test("INVLPG drops the translation of its page, and CR3 loads drop all that are not global", () => {
  for (const [flags, cr4, afterCr3] of [
    [0x7, 0, 0x44444444],
    [0x107, 0, 0x44444444],
    [0x107, CR4.PGE, 0x22222222],
    [0x7, CR4.PGE, 0x44444444],
  ] as const) {
    const { guest, setEntry, value } = pageGuest();
    guest.cpu.set("cr4", cr4);
    setEntry(0x200000 | flags);
    assert.equal(value(), 0x22222222);
    setEntry(0x204000 | flags);
    guest.load(AT.code, "mov eax, cr3\nmov cr3, eax\nhlt");
    guest.run();
    assert.equal(value(), afterCr3, `flags ${flags.toString(16)}, CR4 ${cr4.toString(16)}`);
    guest.load(AT.code, "invlpg [0x300ff0]\nhlt");
    guest.set("eip", AT.code);
    guest.run();
    assert.equal(value(), 0x44444444);
  }
});

test("clearing CR4.PGE or CR0.PG drops global translations too", () => {
  const { guest, setEntry, value } = pageGuest();
  guest.cpu.set("cr4", CR4.PGE);
  setEntry(0x200107);
  assert.equal(value(), 0x22222222);
  setEntry(0x204107);
  guest.load(AT.code, "mov eax, cr4\nand eax, 0xffffff7f\nmov cr4, eax\nhlt");
  guest.run();
  assert.equal(value(), 0x44444444);
  guest.load(AT.code, "mov eax, cr0\nand eax, 0x7fffffff\nmov cr0, eax\nmov ebx, [0x300000]\nhlt");
  guest.setDword(0x300000, 0x33333333);
  guest.set("eip", AT.code);
  guest.run();
  assert.equal(guest.get("ebx"), 0x33333333);
});

test("INVLPG of any page of a large page drops all of it", () => {
  const guest = new Guest();
  guest.page();
  guest.cpu.set("cr4", CR4.PSE);
  guest.setDword(0x100004, 0x00400087);
  guest.setDword(0x800000, 0x88888888);
  guest.setDword(0x600000, 0x66666666);
  guest.setDword(0xa00000, 0xaaaaaaaa);
  assert.equal(guest.cpu.read(0x600000, 4), 0x66666666);
  guest.setDword(0x100004, 0x00800087);
  guest.load(AT.code, "invlpg [0x400000]\nhlt");
  guest.run();
  assert.equal(guest.cpu.read(0x600000, 4), 0xaaaaaaaa);
});

test("INVLPG drops all three kinds of access at both privileges", () => {
  const { guest, setEntry } = pageGuest();
  setEntry(0x200007);
  for (const user of [false, true]) {
    for (const access of ["read", "write", "execute"] as const) {
      setEntry(0x200007);
      guest.cpu.translate(0x300000, pageAccess(access, user));
      guest.cpu.flushPage(0x300000);
      setEntry(0);
      assert.throws(() => guest.cpu.translate(0x300000, pageAccess(access, user)), GuestFault);
    }
  }
});

test("a page read first is marked dirty by the first write", () => {
  const { guest, setEntry, value } = pageGuest();
  setEntry(0x200007);
  value();
  assert.equal(guest.dword(0x101000 + 0x300 * 4), 0x200027);
  guest.cpu.write(0x300000, 4, 1);
  assert.equal(guest.dword(0x101000 + 0x300 * 4), 0x200067);
});

test("supervisors write read-only pages only while CR0.WP is clear", () => {
  const store = (wp: boolean): number => {
    const { guest, setEntry } = pageGuest();
    setEntry(0x200005);
    guest.load(
      AT.code,
      `mov eax, cr0\n${wp ? "or eax, 0x10000" : "and eax, 0xfffeffff"}\nmov cr0, eax\nmov dword [0x300000], 9\nhlt`,
    );
    return guest.runToHandler();
  };
  assert.equal(store(true), 14);
  assert.equal(store(false), -1);
});

test("a change of CR0.WP applies to translations already in use", () => {
  const { guest, setEntry } = pageGuest();
  setEntry(0x200005);
  guest.load(
    AT.code,
    "mov eax, cr0\nand eax, 0xfffeffff\nmov cr0, eax\nmov dword [0x300000], 9\nor eax, 0x10000\nmov cr0, eax\nmov dword [0x300000], 10",
  );
  assert.equal(guest.runToHandler(), 14);
  assert.equal(guest.dword(0x200000), 9);
  assert.equal(guest.stack(1)[0], 3);
});

test("user code may not touch supervisor pages, and the error code says so", () => {
  for (const [text, error] of [
    ["mov eax, [0x300000]", 5],
    ["mov [0x300000], eax", 7],
    ["inc dword [0x300000]", 7],
    ["jmp 0x300000", 5],
  ] as const) {
    const guest = new Guest("user32");
    guest.page()(0x300000, 0x200003);
    guest.load(AT.user, text);
    assert.equal(guest.runToHandler(), 14, text);
    assert.equal(guest.stack(1)[0], error, text);
  }
});

test("descriptor tables and stacks of the kernel are reached from user mode with supervisor rights", () => {
  const guest = new Guest("user32");
  const setPage = guest.page();
  for (let page = 0; page < 0x10000; page += 0x1000) setPage(page, page | 3);
  setPage(0xa000, 0xa007);
  setPage(0x9000, 0x9007);
  guest.load(AT.user, `mov ax, ${0x23}\nmov ds, ax\nud2`);
  assert.equal(guest.runToHandler(), 6);
});

test("with NX, fetches from pages marked so fault with bit 4 of the error code", () => {
  const guest = new Guest();
  const { cpu } = guest;
  guest.setDword(0x100000, 0x101001);
  guest.setDword(0x101000, 0x102067);
  for (let i = 0; i < 512; i++) guest.setDword(0x102000 + i * 8, (i << 12) | 0x67);
  guest.setDword(0x102000 + 0x150 * 8 + 4, 0x80000000);
  cpu.set("cr3", 0x100000);
  cpu.set("cr4", CR4.PAE);
  cpu.set("efer", EFER.NXE);
  cpu.set("cr0", cpu.get("cr0") | CR0.PG);
  cpu.flushAll();
  guest.bytes(0x150000, 0xf4);
  guest.load(AT.code, "mov eax, [0x150000]\njmp 0x150000");
  assert.equal(guest.runToHandler(), 14);
  assert.equal(guest.stack(1)[0], 0x11);
});

test("page faults during a split access name the page that is missing", () => {
  const { guest, setEntry } = pageGuest();
  setEntry(0);
  guest.load(AT.code, "mov eax, [0x2ffffe]");
  assert.equal(guest.runToHandler(), 14);
  assert.equal(guest.cpu.get("cr2"), 0x300000);
});
