/** INT 9 and INT 16h: scan codes to buffer words, shift states, special keys, both views of the buffer, idling. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { Machine } from "./machine.ts";

const ready = () => new Machine().post();

/** Words in the keyboard buffer, taken out. */
function buffer(machine: Machine): number[] {
  const { memory } = machine;
  const words: number[] = [];
  let head = memory.read16(0x41a);
  while (head !== memory.read16(0x41c)) {
    words.push(memory.read16(0x400 + head));
    head = head + 2 >= 0x3e ? 0x1e : head + 2;
  }
  memory.write16(0x41a, head);
  return words;
}

async function typed(machine: Machine, ...codes: number[]): Promise<number[]> {
  await machine.keys(...codes);
  return buffer(machine);
}

test("letters follow shift, caps lock, control and alt", async () => {
  const m = await ready();
  assert.deepEqual(await typed(m, 0x1e, 0x9e), [0x1e61]);
  assert.deepEqual(await typed(m, 0x2a, 0x1e, 0xaa), [0x1e41]);
  assert.deepEqual(await typed(m, 0x3a, 0xba, 0x1e, 0x36, 0x1e, 0xb6, 0x02, 0x3a, 0xba), [0x1e41, 0x1e61, 0x0231]);
  assert.deepEqual(await typed(m, 0x1d, 0x2e, 0x9d), [0x2e03]);
  assert.deepEqual(await typed(m, 0x38, 0x2e, 0xb8), [0x2e00]);
  assert.deepEqual(await typed(m, 0x1d, 0x02, 0x9d), [], "Ctrl-1 types nothing");
});

test("function keys have four codes each", async () => {
  const m = await ready();
  assert.deepEqual(
    await typed(m, 0x3b, 0x2a, 0x3b, 0xaa, 0x1d, 0x3b, 0x9d, 0x38, 0x3b, 0xb8),
    [0x3b00, 0x5400, 0x5e00, 0x6800],
  );
  assert.deepEqual(await typed(m, 0x57, 0x2a, 0x58, 0xaa), [0x8500, 0x8800]);
});

test("the keypad is digits or cursor keys by num lock and shift", async () => {
  const m = await ready();
  assert.deepEqual(await typed(m, 0x48), [0x4800]);
  assert.deepEqual(await typed(m, 0x2a, 0x48, 0xaa), [0x4838]);
  assert.deepEqual(await typed(m, 0x45, 0xc5, 0x48, 0x2a, 0x48, 0xaa), [0x4838, 0x4800]);
  assert.deepEqual(await typed(m, 0xe0, 0x2a, 0xe0, 0x48, 0xe0, 0xc8, 0xe0, 0xaa), [0x48e0]);
  assert.deepEqual(await typed(m, 0xe0, 0x1c, 0xe0, 0x35, 0x4c), [0xe00d, 0xe02f, 0x4c35]);
});

test("shift flags follow both shifts, both controls, both alts and the lock keys", async () => {
  const m = await ready();
  const flags = () => [m.memory.read8(0x417), m.memory.read8(0x418)];
  await m.keys(0x2a, 0x36);
  assert.deepEqual(flags(), [0x03, 0]);
  await m.keys(0xaa, 0xb6, 0x1d, 0xe0, 0x1d, 0x9d);
  assert.deepEqual(flags(), [0x04, 0], "the right control still holds");
  await m.keys(0xe0, 0x9d, 0x38, 0xe0, 0x38);
  assert.deepEqual(flags(), [0x08, 0x02]);
  assert.deepEqual((await m.call("int16", { ax: 0x1200 })).ax, 0x0a08);
  await m.keys(0xb8, 0xe0, 0xb8, 0x3a, 0x3a);
  assert.deepEqual(flags(), [0x40, 0x40], "a repeated lock key toggles once");
  await m.keys(0xba, 0x46, 0xc6, 0x45, 0xc5);
  assert.deepEqual(flags(), [0x70, 0]);
});

test("lock keys set the keyboard's LEDs, and so does a program that changes the flags", async () => {
  const m = await ready();
  await m.keys(0x3a, 0xba);
  m.clock.advance(1e7);
  assert.equal(m.pc.keyboard.leds, 4);
  m.memory.write8(0x417, 0x20);
  assert.equal((await m.call("int16", { ax: 0x0100 })).to, "int16_leds");
  await m.talk();
  m.clock.advance(1e7);
  assert.equal(m.pc.keyboard.leds, 2);
  m.bus.outb(0x64, 0x20);
  m.clock.advance(1e7);
  assert.equal(m.bus.in(0x60), 0x65, "the command byte is back");
});

test("insert toggles its state once a press", async () => {
  const m = await ready();
  assert.deepEqual(await typed(m, 0x52, 0x52, 0xd2), [0x5200, 0x5200]);
  assert.equal(m.memory.read8(0x417), 0x80);
  await m.keys(0xe0, 0x52, 0xe0, 0xd2);
  assert.equal(m.memory.read8(0x417), 0);
});

test("numbers typed with Alt on the keypad become characters", async () => {
  const m = await ready();
  assert.deepEqual(await typed(m, 0x38, 0x4f, 0xcf, 0x50, 0xd0, 0x4d, 0xcd, 0xb8), [0x007e & 0xff]);
  assert.deepEqual(await typed(m, 0x38, 0xb8), [], "Alt alone types nothing");
});

test("special keys lead to their actions", async () => {
  const m = await ready();
  assert.deepEqual(await m.keys(0xe0, 0x37), ["int9_end", "int9_print"]);
  assert.deepEqual(await m.keys(0x1d, 0xe0, 0x46), ["int9_end", "int9_end", "int9_break"]);
  assert.equal(m.memory.read8(0x471), 0x80);
  assert.deepEqual(buffer(m), [0]);
  assert.deepEqual(await m.keys(0x9d, 0x38, 0x54, 0x54, 0xd4, 0xb8), [
    "int9_end",
    "int9_end",
    "int9_sysreq_down",
    "int9_end",
    "int9_sysreq_up",
    "int9_end",
  ]);
  assert.deepEqual(await m.keys(0x1d, 0x38, 0x53), ["int9_end", "int9_end", "int9_reset"]);
  assert.deepEqual(await m.keys(0x1d, 0x38, 0xe0, 0x53), ["int9_end", "int9_end", "int9_end", "int9_reset"]);
});

test("Pause stops until the next key, which it swallows", async () => {
  const m = await ready();
  assert.equal((await m.keys(0xe1, 0x1d, 0x45, 0xe1, 0x9d, 0xc5))[2], "int9_pause");
  assert.equal(m.memory.read8(0x418) & 8, 8);
  assert.equal(m.memory.read8(0x417), 0, "no control, no num lock");
  assert.deepEqual(await typed(m, 0x1e), []);
  assert.equal(m.memory.read8(0x418) & 8, 0);
  assert.deepEqual(await typed(m, 0x1e), [0x1e61]);
});

test("a full buffer beeps and drops", async () => {
  const m = await ready();
  const labels = await m.keys(...Array.from({ length: 16 }, () => 0x1e));
  assert.deepEqual([labels[14], labels[15]], ["int9_post", "int9_beep"]);
  assert.equal(buffer(m).length, 15);
});

test("00h and 01h hide what the 84-key keyboard had not; 10h and 11h show it", async () => {
  const m = await ready();
  const store = (word: number) => m.call("int16", { ax: 0x0500, cx: word });
  const pairs = [
    [0x48e0, 0x4800, 0x48e0],
    [0xe00d, 0x1c0d, 0xe00d],
    [0xe02f, 0x352f, 0xe02f],
    [0x00e0, 0x00e0, 0x00e0],
    [0x1e61, 0x1e61, 0x1e61],
  ];
  for (const [word, standard, enhanced] of pairs) {
    await store(word!);
    assert.equal((await m.call("int16", { ax: 0x0100 })).ax, standard);
    assert.equal((await m.call("int16", { ax: 0x1100 })).ax, enhanced);
    assert.equal((await m.call("int16", { ax: 0x0000 })).ax, standard);
    await store(word!);
    assert.equal((await m.call("int16", { ax: 0x1000 })).ax, enhanced);
  }
  for (const hidden of [0x8500, 0x1af0]) {
    await store(hidden);
    assert.equal((await m.call("int16", { ax: 0x1100 })).ax, hidden & 0xff00);
    assert.equal((await m.call("int16", { ax: 0x0100 })).zero, true);
  }
});

test("reading an empty buffer waits in guest code; asking sets the zero flag", async () => {
  const m = await ready();
  assert.equal((await m.call("int16", { ax: 0x0000 })).to, "int16_wait");
  assert.equal((await m.call("int16", { ax: 0x1000 })).to, "int16_wait");
  assert.equal((await m.call("int16", { ax: 0x0100 })).zero, true);
  await m.keys(0x1e);
  assert.equal((await m.call("int16", { ax: 0x0100 })).zero, false);
});

test("a guest that only polls is halted; one that works between polls is not", async () => {
  let instructions = 0;
  let generation = 0;
  const activity = { instructions: () => instructions, displayGeneration: () => generation };
  const m = await new Machine({ activity }).post();
  const poll = async (bx: number, gap: number) => {
    instructions += gap;
    return (await m.call("int16", { ax: 0x0100, bx })).to;
  };
  const polls = async (count: number, next: (i: number) => [bx: number, gap: number]) => {
    const halts = [];
    for (let i = 0; i < count; i++) halts.push(await poll(...next(i)));
    return halts.filter((to) => to === "int16_idle").length;
  };
  assert.equal(await polls(299, () => [0, 190]), 0);
  assert.equal((await polls(10, () => [0, 190])) > 5, true);
  assert.equal(await poll(0, 12_345), "int16_idle", "the interrupt that ended the halt does not count");
  assert.equal(await polls(2000, (i) => [i + 1, 190]), 0, "registers change");
  assert.equal(await polls(2000, (i) => [0, 190 + (i % 7)]), 0, "the loop takes different ways");
  assert.equal(await polls(2000, () => [0, 5000]), 0, "the loop is long");
  const drawing = async (i: number) => {
    generation = i;
    return poll(0, 190);
  };
  for (let i = 0; i < 2000; i++) assert.equal(await drawing(i), undefined, "the screen changes");
  assert.ok((await polls(400, (i) => [i & 1, 190 + (i & 1) * 30])) > 50, "a loop of two polls is idle, too");
  const blind = await ready();
  for (let i = 0; i < 600; i++) assert.equal((await blind.call("int16", { ax: 0x0100 })).to, undefined);
});

test("02h, 05h, 09h, 0Ah and 92h answer, 03h sets the repeat rate", async () => {
  const m = await ready();
  await m.keys(0x2a);
  assert.equal((await m.call("int16", { ax: 0x0200 })).al, 0x02);
  assert.equal((await m.call("int16", { ax: 0x0900 })).al & 0x24, 0x24);
  assert.equal((await m.call("int16", { ax: 0x0a00 })).bx, 0x83ab);
  assert.equal((await m.call("int16", { ax: 0x9200 })).ah, 0x80);
  for (let i = 0; i < 15; i++) assert.equal((await m.call("int16", { ax: 0x0500, cx: i })).al, 0);
  assert.equal((await m.call("int16", { ax: 0x0500 })).al, 1);
  assert.equal((await m.call("int16", { ax: 0x0305, bx: 0x0105 })).to, "int16_talk");
  await m.talk();
});

test("keys of the real controller arrive as scan codes", async () => {
  const m = await ready();
  m.pc.keyboard.key("KeyA", true);
  m.clock.advance(1e7);
  assert.equal(m.bus.in(0x64) & 0x21, 0x01);
  assert.equal((await m.keys(m.bus.in(0x60)))[0], "int9_post");
  assert.deepEqual(buffer(m), [0x1e61]);
});
