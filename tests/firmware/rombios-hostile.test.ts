/** Whatever a guest puts into registers and into the BIOS's own memory, no service throws or runs on for ever. */
import { test } from "node:test";
import fc from "fast-check";
import { fakeCdrom, fakeDisk, fakeFloppy } from "../support/device-fakes.ts";
import { Machine } from "./machine.ts";

const SERVICES = [
  ...["int9", "int13", "int14", "int14_poll", "int15", "int16", "int17", "int1a", "int1a_ticks"],
  ...["int70", "int74", "mouse_done", "talk", "boot_next", "boot_launch", "boot_none", "post_rom"],
  ...["post_rom_done", "menu_prompt", "menu_poll", "menu_show", "menu_choose"],
];

const word = fc.integer({ min: 0, max: 0xffff });
const registers = fc.record({ ax: word, bx: word, cx: word, dx: word, si: word, di: word, ds: word, es: word });
const calls = fc.array(fc.tuple(fc.constantFrom(...SERVICES), registers), { minLength: 1, maxLength: 30 });
/** Bytes written over the BIOS data area, the extended one, or the pointer to it. */
const damage = fc.array(
  fc.tuple(fc.oneof(fc.integer({ min: 0x400, max: 0x500 }), fc.integer({ min: 0x9fc00, max: 0x9ffff })), fc.nat(255)),
  { maxLength: 40 },
);
const extendedArea = fc.option(fc.constantFrom(0, 0x40, 0xa000, 0xf000, 0xffff), { nil: undefined });

test("random calls on a damaged data area", async () => {
  await fc.assert(
    fc.asyncProperty(calls, damage, extendedArea, async (list, bytes, ebda) => {
      const machine = await new Machine({ floppies: [fakeFloppy(360)], units: [fakeDisk(2), fakeCdrom(64)] }).post();
      for (const [at, value] of bytes) machine.memory.write8(at, value);
      if (ebda !== undefined) machine.memory.write16(0x40e, ebda);
      for (const [name, values] of list) await machine.call(name, values);
    }),
    { numRuns: 150 },
  );
});

test("every function number of every interrupt", async () => {
  const machine = await new Machine({ floppies: [fakeFloppy(1440)], units: [fakeDisk(2), fakeCdrom(64)] }).post();
  for (const name of ["int13", "int14", "int15", "int16", "int17", "int1a"]) {
    for (let ax = 0; ax < 0x10000; ax += ax >> 8 === 0x24 || ax >> 8 === 0x53 || ax >> 8 === 0xc2 ? 1 : 17) {
      await machine.call(name, { ax, bx: 0x55aa, cx: 1, dx: ax & 0xe0, es: 0x2000, ds: 0x2000 });
    }
  }
});
