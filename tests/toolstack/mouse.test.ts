import assert from "node:assert/strict";
import { test } from "node:test";
import { Domain } from "../../src/toolstack/domain.ts";
import type { MachineOptions } from "../../src/toolstack/machine.ts";
import { FakeMachine } from "./fake-machine.ts";

async function create() {
  let machine!: FakeMachine;
  const domain = await Domain.create(
    { fda: new Uint8Array(512) },
    { machine: (options: MachineOptions) => (machine = new FakeMachine(options)) },
  );
  return { domain, machine };
}

test("movements, wheel and buttons reach the mouse, buttons held", async () => {
  const { domain, machine } = await create();
  domain.mouse.move(3, -4);
  domain.mouse.press();
  domain.mouse.press("right");
  domain.mouse.move(1, 1);
  domain.mouse.release();
  domain.mouse.wheel(2);
  assert.deepEqual(machine.keys, [
    "mouse 3,-4,0,0",
    "mouse 0,0,0,1",
    "mouse 0,0,0,3",
    "mouse 1,1,0,3",
    "mouse 0,0,0,2",
    "mouse 0,0,2,2",
  ]);
  await domain.destroy();
});

test("positions are pixels of the picture, where the guest takes them", async () => {
  const { domain, machine } = await create();
  assert.throws(() => domain.mouse.moveTo(1, 1), /no driver for an absolute pointer/);
  machine.mouse.absolute = true;
  machine.display.frame = () => ({ width: 801, height: 601, rgba: new Uint8ClampedArray(4) });
  domain.mouse.moveTo(400, 600);
  domain.mouse.press("left");
  assert.deepEqual(machine.keys, ["pointer 32767.5,65535,0,0", "pointer 32767.5,65535,0,1"]);
  await domain.destroy();
});
