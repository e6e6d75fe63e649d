/** Jumps, calls and returns between regions, and functions that stand in them as copies, where mappings and code change. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { CR0 } from "../../src/processor/registers.ts";
import { AT, Guest } from "./guest.ts";

const DIRECTORY = 0x100000;
const TABLE = 0x101000;
const LINEAR_ALIAS = 0x320000;
const FUNCTION = AT.code + 0x1000;
const OTHER = AT.code + 0x5000;
const REMAP = AT.code + 0x7000;
const BUDGET = 100_000;

/** The first 4 MiB mapped to themselves. */
function pagedGuest(): Guest {
  const guest = new Guest();
  guest.setDword(DIRECTORY, TABLE | 7);
  for (let i = 0; i < 1024; i++) guest.setDword(TABLE + i * 4, (i << 12) | 7);
  guest.cpu.set("cr3", DIRECTORY);
  guest.cpu.set("cr0", guest.cpu.get("cr0") | CR0.PG);
  guest.cpu.flushAll();
  return guest;
}

function run(guest: Guest): void {
  guest.machine.invalidate();
  assert.equal(guest.machine.run(BUDGET).kind, "halt");
}

test("code that stands at two linear addresses knows at which it runs", () => {
  const guest = pagedGuest();
  guest.setDword(TABLE + (LINEAR_ALIAS >> 12) * 4, AT.code | 7);
  const times = 50;
  // The loop's head is 5 bytes on; even counts run at the one address, odd ones at the other.
  guest.load(
    AT.code,
    `mov ecx, ${times}
    again:
      call where
      add ebx, eax
      dec ecx
      jz done
      mov edx, ${AT.code + 5}
      test ecx, 1
      jz there
      mov edx, ${LINEAR_ALIAS + 5}
    there:
      jmp edx
    done:
      hlt
    where:
      mov eax, [esp]
      ret`,
  );
  run(guest);
  const behindCall = 10;
  assert.equal(guest.get("ebx"), times * behindCall + (times / 2) * (AT.code + LINEAR_ALIAS));
});

for (const kind of ["call", "jump"] as const) {
  test(`a ${kind} to another page reaches what is mapped there at that time`, () => {
    const guest = pagedGuest();
    const entry = TABLE + (FUNCTION >> 12) * 4;
    guest.load(
      AT.code,
      `mov ecx, 40
      again:
        ${kind === "call" ? `call ${FUNCTION}` : `jmp ${FUNCTION}`}
      back:
        add ebx, eax
        cmp ecx, 21
        jnz on
        call ${REMAP}
      on:
        dec ecx
        jnz again
        hlt`,
    );
    guest.load(REMAP, `mov dword [${entry}], ${OTHER | 7}\ninvlpg [${FUNCTION}]\nret`);
    const back = kind === "call" ? "ret" : `jmp ${AT.code + 10}`;
    // The jump back is relative to where the code runs, not to where it stands in memory.
    guest.load(FUNCTION, `mov eax, 1\n${back}`);
    // A region takes code from pages that the processor has seen: this one first.
    guest.load(FUNCTION + 0x100, "ret");
    guest.load(AT.user, `call ${FUNCTION + 0x100}\njmp ${AT.code}`);
    guest.set("eip", AT.user);
    guest.load(OTHER, "mov eax, 100");
    guest.machine.memory.copyWithin(OTHER + 5, FUNCTION + 5, FUNCTION + 16);
    run(guest);
    assert.equal(guest.get("ebx"), 20 * 1 + 20 * 100);
  });
}

test("a return goes where the guest's stack says, also from a small function", () => {
  const guest = pagedGuest();
  // "add ebx, 1" has three bytes, which every third call skips.
  guest.load(
    AT.code,
    `mov ecx, 60
      mov edx, 3
    again:
      call skips
      add ebx, 1
      dec ecx
      jnz again
      hlt
    skips:
      dec edx
      jnz plain
      mov edx, 3
      add dword [esp], 3
    plain:
      ret`,
  );
  run(guest);
  assert.equal(guest.get("ebx"), 40);
});

test("a small function that was written anew is the new one at every call of it", () => {
  const guest = pagedGuest();
  guest.load(
    AT.code,
    `mov ecx, 64
    again:
      call ${FUNCTION}
      add ebx, eax
      test ecx, 7
      jnz on
      inc byte [${FUNCTION + 1}]
    on:
      dec ecx
      jnz again
      call ${FUNCTION}
      hlt`,
  );
  guest.load(FUNCTION, "mov eax, 0\nret");
  run(guest);
  let value = 0;
  let sum = 0;
  for (let count = 64; count > 0; count--) {
    sum += value;
    if (count % 8 === 0) value++;
  }
  assert.deepEqual([guest.get("ebx"), guest.get("eax")], [sum, value]);
});

test("calls deeper than returns are remembered, and calls that never return, do no harm", () => {
  const guest = pagedGuest();
  guest.load(
    AT.code,
    `mov ecx, 100
      call deep
      mov ecx, 50
    dropped:
      call behind
    behind:
      add esp, 4
      inc ebx
      dec ecx
      jnz dropped
      mov ecx, 30
      call deep
      hlt
    deep:
      dec ecx
      jz bottom
      call deep
    bottom:
      inc eax
      ret`,
  );
  run(guest);
  assert.deepEqual([guest.get("eax"), guest.get("ebx"), guest.get("esp")], [130, 50, AT.stack0]);
});
