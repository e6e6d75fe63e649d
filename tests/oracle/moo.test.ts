/** The MOO reader on a file made by hand. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { readMoo } from "./moo.ts";

function chunk(name: string, ...parts: (number[] | Uint8Array)[]): Uint8Array {
  const body = Buffer.concat(parts.map((part) => Uint8Array.from(part)));
  const head = Buffer.alloc(8);
  head.write(name, 0, "latin1");
  head.writeUInt32LE(body.length, 4);
  return Buffer.concat([head, body]);
}

const u32 = (value: number): number[] => [value & 0xff, (value >> 8) & 0xff, (value >> 16) & 0xff, value >>> 24];

test("a test's registers, memory, exception and hash are read", () => {
  const initial = chunk(
    "INIT",
    chunk("REGS", [0x01, 0x20, 0x34, 0x12, 0x02, 0x0f]),
    chunk("RAM ", u32(1), u32(0x12345), [0xf4]),
  );
  const final = chunk("FINA", chunk("REGS", [0x00, 0x10, 0x01, 0x80]));
  const one = chunk(
    "TEST",
    u32(7),
    chunk("NAME", u32(3), [0x6e, 0x6f, 0x70]),
    chunk("BYTS", u32(2), [0x90, 0xf4]),
    initial,
    final,
    chunk("EXCP", [13], u32(0x4567)),
    chunk("HASH", [0xde, 0xad]),
  );
  const [moo, ...rest] = readMoo(Buffer.concat([chunk("MOO ", u32(1)), chunk("META", [0]), one]));
  assert.equal(rest.length, 0);
  assert.equal(moo?.index, 7);
  assert.equal(moo?.name, "nop");
  assert.deepEqual([...(moo?.bytes ?? [])], [0x90, 0xf4]);
  assert.deepEqual(
    [...(moo?.initial.registers ?? [])],
    [
      ["eax", 0x1234],
      ["eflags", 0x0f02],
    ],
  );
  assert.deepEqual(moo?.initial.memory, [[0x12345, 0xf4]]);
  assert.deepEqual([...(moo?.final.registers ?? [])], [["eip", 0x8001]]);
  assert.deepEqual(moo?.exception, { vector: 13, flagsAddress: 0x4567 });
  assert.equal(moo?.hash, "dead");
});
