/** Keyboard, controller and typist together, as a guest sees them through ports 60h and 64h. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { A20Gate } from "../../src/devices/a20-gate.ts";
import { I8042 } from "../../src/devices/i8042.ts";
import { keymapOf } from "../../src/devices/keymaps.ts";
import { Ps2Keyboard } from "../../src/devices/ps2-keyboard.ts";
import { Ps2Mouse } from "../../src/devices/ps2-mouse.ts";
import { keyOfSet1, scanCodes, textToKeys, translateSet2 } from "../../src/devices/scancodes.ts";
import { Typist } from "../../src/devices/typist.ts";
import { FakeLine } from "../support/device-fakes.ts";
import { FakeClock } from "../support/fake-clock.ts";

const US = keymapOf("en-us");

function setup() {
  const clock = new FakeClock();
  const [irq1, irq12, a20Line] = [new FakeLine(), new FakeLine(), new FakeLine()];
  let resets = 0;
  const keyboard = new Ps2Keyboard({ clock });
  const mouse = new Ps2Mouse({ clock });
  const a20 = new A20Gate(a20Line);
  const controller = new I8042({ clock, irq1, irq12, a20, reset: () => resets++, keyboard, mouse });
  const typist = new Typist({ clock, keyboard, keymap: US });
  const data = (byte: number): void => controller.data.write(0, 1, byte);
  const command = (byte: number): void => controller.control.write(0, 1, byte);
  const status = (): number => controller.control.read(0, 1);
  /** Read every byte that comes within `ns`. */
  const drain = (ns = 5e6): number[] => {
    const bytes = [];
    const end = clock.now() + ns;
    for (;;) {
      if (status() & 1) bytes.push(controller.data.read(0, 1));
      else if (clock.now() >= end) return bytes;
      else clock.advance(100e3);
    }
  };
  return {
    clock,
    irq1,
    irq12,
    a20,
    keyboard,
    mouse,
    controller,
    typist,
    data,
    command,
    status,
    drain,
    resets: () => resets,
  };
}

test("a key press reaches the guest translated, with an interrupt for each byte", () => {
  const pc = setup();
  pc.keyboard.key("KeyA", true);
  pc.keyboard.key("KeyA", false);
  assert.equal(pc.status() & 1, 0, "the line takes its time");
  pc.clock.advance(1e6);
  assert.equal(pc.irq1.level, true);
  assert.equal(pc.controller.data.read(0, 1), 0x1e);
  assert.equal(pc.irq1.level, false);
  assert.equal(pc.controller.data.read(0, 1), 0x1e, "the byte stays readable");
  assert.deepEqual(pc.drain(), [0x9e]);
  assert.equal(pc.irq1.edges, 2);
});

test("extended keys, Pause and Print Screen in sets 1 and 2", () => {
  const none = { control: false, shift: false, alt: false };
  assert.deepEqual(scanCodes("ArrowUp", true, 1, none), [0xe0, 0x48]);
  assert.deepEqual(scanCodes("ArrowUp", false, 1, none), [0xe0, 0xc8]);
  assert.deepEqual(scanCodes("ArrowUp", false, 2, none), [0xe0, 0xf0, 0x75]);
  assert.deepEqual(scanCodes("Pause", true, 1, none), [0xe1, 0x1d, 0x45, 0xe1, 0x9d, 0xc5]);
  assert.deepEqual(scanCodes("Pause", false, 1, none), []);
  assert.deepEqual(scanCodes("Pause", true, 1, { ...none, control: true }), [0xe0, 0x46, 0xe0, 0xc6]);
  assert.deepEqual(scanCodes("PrintScreen", true, 1, none), [0xe0, 0x2a, 0xe0, 0x37]);
  assert.deepEqual(scanCodes("PrintScreen", false, 1, none), [0xe0, 0xb7, 0xe0, 0xaa]);
  assert.deepEqual(scanCodes("PrintScreen", false, 2, none), [0xe0, 0xf0, 0x7c, 0xe0, 0xf0, 0x12]);
  assert.deepEqual(scanCodes("PrintScreen", true, 1, { ...none, alt: true }), [0x54]);
});

test("translating set 2 gives set 1, for every key", () => {
  const none = { control: false, shift: false, alt: false };
  for (let scanCode = 1; scanCode < 0x80; scanCode++) {
    for (const extended of [0, 0xe000]) {
      const code = keyOfSet1(scanCode | extended);
      if (code === undefined) continue;
      const translated = scanCodes(code, true, 2, none).map(translateSet2);
      assert.deepEqual(translated, scanCodes(code, true, 1, none), code);
    }
  }
  assert.equal(keyOfSet1(0x1c), "Enter");
});

test("a held key repeats after its delay, and stops when released", () => {
  const pc = setup();
  pc.keyboard.key("KeyX", true);
  assert.deepEqual(pc.drain(490e6), [0x2d]);
  const repeats = pc.drain(1e9);
  assert.ok(repeats.length >= 10 && repeats.length <= 12, `${repeats.length} repeats`);
  assert.ok(repeats.every((byte) => byte === 0x2d));
  pc.keyboard.key("KeyX", false);
  assert.deepEqual(pc.drain(1e9), [0xad]);
});

test("typematic rate and delay can be set", () => {
  const pc = setup();
  pc.data(0xf3);
  pc.data(0x00);
  pc.drain();
  pc.keyboard.key("KeyX", true);
  assert.equal(pc.drain(1.25e9).length, 1 + 30);
});

test("downs of a key that is down are ignored, and so are keys nobody has", () => {
  const pc = setup();
  pc.keyboard.key("KeyA", true);
  pc.keyboard.key("KeyA", true);
  pc.keyboard.key("NoSuchKey", true);
  pc.keyboard.key("KeyB", false);
  assert.deepEqual(pc.drain(100e6), [0x1e]);
  pc.keyboard.releaseAll();
  assert.deepEqual(pc.drain(), [0x9e]);
});

test("the FIFO holds sixteen bytes and reports an overrun", () => {
  const pc = setup();
  pc.command(0x60);
  pc.data(0x01);
  for (let i = 0; i < 30; i++) {
    const code = `Key${String.fromCharCode(0x41 + (i % 26))}`;
    pc.keyboard.key(code, true);
    pc.keyboard.key(code, false);
  }
  const bytes = pc.drain(50e6);
  assert.equal(bytes.length, 17);
  assert.equal(bytes[16], 0x00);
});

test("keyboard commands answer as the manual says", () => {
  const pc = setup();
  pc.command(0x60);
  pc.data(0x01);
  const ask = (...bytes: number[]): number[] =>
    bytes.flatMap((byte) => {
      pc.data(byte);
      return pc.drain();
    });
  assert.deepEqual(ask(0xee), [0xee]);
  assert.deepEqual(ask(0xf2), [0xfa, 0xab, 0x83]);
  assert.deepEqual(ask(0xed, 0x07), [0xfa, 0xfa]);
  assert.equal(pc.keyboard.leds, 7);
  assert.deepEqual(ask(0xf0, 0x00), [0xfa, 0xfa, 0x02]);
  assert.deepEqual(ask(0xf0, 0x01), [0xfa, 0xfa]);
  pc.keyboard.key("KeyA", true);
  pc.keyboard.key("KeyA", false);
  assert.deepEqual(pc.drain(), [0x1e, 0x9e]);
  assert.deepEqual(ask(0xf0, 0x03), [0xfa, 0xfa]);
  pc.keyboard.key("F1", true);
  assert.deepEqual(pc.drain(), [0x07]);
  pc.keyboard.key("F1", false);
  pc.drain();
  assert.deepEqual(ask(0xf5), [0xfa]);
  pc.keyboard.key("KeyA", true);
  assert.deepEqual(pc.drain(), [], "scanning is off");
  pc.keyboard.key("KeyA", false);
  assert.deepEqual(ask(0xf4), [0xfa]);
  assert.deepEqual(ask(0xff), [0xfa, 0xaa]);
  assert.equal(pc.keyboard.leds, 0);
  assert.deepEqual(ask(0xf1), [0xfe]);
  pc.data(0xee);
  pc.drain();
  assert.deepEqual(ask(0xfe), [0xee], "resend");
});

test("identification is translated along with the rest", () => {
  const pc = setup();
  pc.data(0xf2);
  assert.deepEqual(pc.drain(), [0xfa, 0xab, 0x41]);
});

test("controller commands: self-tests, RAM, ports, enabling", () => {
  const pc = setup();
  const ask = (command: number): number[] => {
    pc.command(command);
    return pc.drain();
  };
  assert.equal(pc.status() & 0x04, 0, "no self-test yet");
  assert.deepEqual(ask(0xaa), [0x55]);
  assert.equal(pc.status() & 0x04, 0x04);
  assert.deepEqual(ask(0xab), [0x00]);
  assert.deepEqual(ask(0xa9), [0x00]);
  pc.command(0x60);
  assert.equal(pc.status() & 0x08, 0x08, "last write was a command");
  pc.data(0x47);
  assert.deepEqual(ask(0x20), [0x47]);
  pc.command(0x65);
  pc.data(0x99);
  assert.deepEqual(ask(0x25), [0x99]);
  assert.deepEqual(ask(0xc0), [0xa0]);
  pc.command(0xad);
  pc.keyboard.key("KeyA", true);
  assert.deepEqual(pc.drain(), [], "the keyboard is disabled");
  pc.command(0xae);
  assert.deepEqual(pc.drain(), [0x1e]);
});

test("A20 and reset hang on the output port and on the pulse commands", () => {
  const pc = setup();
  assert.equal(pc.a20.level, true);
  pc.command(0xd1);
  pc.data(0xdd);
  assert.equal(pc.a20.level, false);
  pc.command(0xd0);
  assert.equal(pc.drain()[0]! & 0x03, 0x01);
  pc.command(0xdf);
  assert.equal(pc.a20.level, true);
  assert.equal(pc.resets(), 0);
  pc.command(0xfe);
  assert.equal(pc.resets(), 1);
  pc.command(0xff);
  assert.equal(pc.resets(), 1, "no line is pulsed");
  pc.command(0xd1);
  pc.data(0x02);
  assert.equal(pc.resets(), 2);
});

test("bytes put into the output buffer come back with the right interrupt", () => {
  const pc = setup();
  pc.command(0x60);
  pc.data(0x03);
  pc.command(0xd2);
  pc.data(0x12);
  assert.equal(pc.irq1.level, true);
  assert.deepEqual(pc.drain(), [0x12]);
  pc.command(0xd3);
  pc.data(0x34);
  assert.equal(pc.irq12.level, true);
  assert.equal(pc.status() & 0x21, 0x21);
  assert.deepEqual(pc.drain(), [0x34]);
});

test("a mouse behind the controller: reset, wheel knock, packets, interrupt 12", () => {
  const pc = setup();
  pc.command(0x60);
  pc.data(0x43);
  const ask = (...bytes: number[]): number[] =>
    bytes.flatMap((byte) => {
      pc.command(0xd4);
      pc.data(byte);
      return pc.drain();
    });
  assert.deepEqual(ask(0xff), [0xfa, 0xaa, 0x00]);
  assert.deepEqual(ask(0xf2), [0xfa, 0x00]);
  ask(0xf3, 200, 0xf3, 100, 0xf3, 80);
  assert.deepEqual(ask(0xf2), [0xfa, 0x03]);
  pc.mouse.move(5, 5, 0, 0);
  assert.deepEqual(pc.drain(50e6), [], "not enabled yet");
  assert.deepEqual(ask(0xf4), [0xfa]);
  assert.deepEqual(pc.drain(50e6), [0x28, 5, 0xfb, 0]);
  const before = pc.irq12.edges;
  pc.mouse.move(-3, -2, 1, 1);
  assert.deepEqual(pc.drain(50e6), [0x19, 0xfd, 2, 1]);
  assert.equal(pc.irq12.edges - before, 4);
  pc.mouse.move(600, 0, 0, 0);
  assert.deepEqual(pc.drain(100e6), [0x08, 255, 0, 0, 0x08, 255, 0, 0, 0x08, 90, 0, 0]);
  assert.deepEqual(ask(0xe9), [0xfa, 0x20, 2, 80]);
});

test("remote, wrap, scaling and wrong parameters of the mouse", () => {
  const clock = new FakeClock();
  const mouse = new Ps2Mouse({ clock });
  const ask = (byte: number): number[] => {
    mouse.write(byte);
    const bytes = [];
    for (let next = mouse.take(); next >= 0; next = mouse.take()) bytes.push(next);
    return bytes;
  };
  assert.deepEqual(ask(0xf0), [0xfa]);
  mouse.move(4, 0, 0, 2);
  assert.deepEqual(ask(0xeb), [0xfa, 0x0a, 4, 0]);
  assert.deepEqual(ask(0xee), [0xfa]);
  assert.deepEqual(ask(0x55), [0x55], "wrap mode echoes");
  assert.deepEqual(ask(0xec), [0xfa]);
  ask(0xe8);
  assert.deepEqual(ask(9), [0xfc], "no such resolution");
  assert.deepEqual(ask(0xea), [0xfa]);
  assert.deepEqual(ask(0xe7), [0xfa]);
  assert.deepEqual(ask(0xf4), [0xfa]);
  mouse.move(4, 0, 0, 2);
  clock.advance(20e6);
  const packet = [mouse.take(), mouse.take(), mouse.take()];
  assert.deepEqual(packet, [0x0a, 6, 0], "2:1 scaling turns 4 into 6");
});

test("text is typed as fast as the guest reads, and no faster", () => {
  const pc = setup();
  pc.typist.type("Hi!\n");
  pc.clock.advance(1e9);
  assert.ok(pc.typist.pending > 5, "an unread key stops the typist");
  const bytes = pc.drain(200e6);
  assert.deepEqual(bytes, [0x2a, 0x23, 0xa3, 0xaa, 0x17, 0x97, 0x2a, 0x02, 0x82, 0xaa, 0x1c, 0x9c]);
  assert.equal(pc.typist.pending, 0);
  assert.equal(pc.clock.nextDeadline, Number.POSITIVE_INFINITY);
});

test("chords go down in order and up in reverse", () => {
  const pc = setup();
  pc.typist.press(["ControlLeft", "AltLeft", "Delete"]);
  assert.deepEqual(pc.drain(200e6), [0x1d, 0x38, 0xe0, 0x53, 0xe0, 0xd3, 0xb8, 0x9d]);
});

test("what the layout cannot type is refused as a whole", () => {
  const pc = setup();
  assert.throws(() => pc.typist.type("añb"), /no key for it/);
  assert.throws(() => pc.typist.press(["Ctrl"]), /KeyboardEvent.code/);
  assert.equal(pc.typist.pending, 0);
});

test("every ASCII character has its keys, and a line end is one Enter", () => {
  for (let code = 1; code < 0x80; code++) {
    assert.ok([...textToKeys(String.fromCharCode(code), US)].length >= 2, `character ${code}`);
  }
  assert.deepEqual(
    [...textToKeys("\r\n", US)].map(({ code }) => code),
    ["Enter", "Enter"],
  );
  assert.deepEqual(
    [...textToKeys("\x03", US)].map(({ code }) => code),
    ["ControlLeft", "KeyC", "KeyC", "ControlLeft"],
  );
});
