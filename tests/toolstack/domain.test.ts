/** The life of a domain, on a machine without a guest. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { VmxonError } from "../../src/common/errors.ts";
import { RegionGenerator } from "../../src/processor/compiler/generator.ts";
import type { DomainConfig } from "../../src/toolstack/config.ts";
import { Domain } from "../../src/toolstack/domain.ts";
import { NO_HOST } from "../../src/toolstack/host.ts";
import type { MachineOptions } from "../../src/toolstack/machine.ts";
import { FakeMachine } from "./fake-machine.ts";

async function create(config: DomainConfig = {}): Promise<{ domain: Domain; machine: FakeMachine }> {
  let machine: FakeMachine | undefined;
  const domain = await Domain.create(config, { machine: (options) => (machine = new FakeMachine(options)) });
  return { domain, machine: machine! };
}

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

test("a domain is created, runs, pauses, goes on and is destroyed", async () => {
  const { domain, machine } = await create();
  const states: string[] = [];
  domain.onState((state) => states.push(state));
  assert.equal(domain.state, "created");
  domain.start();
  domain.pause();
  domain.pause();
  domain.resume();
  const reason = await domain.destroy();
  assert.equal(reason.kind, "destroyed");
  assert.deepEqual(states, ["running", "paused", "running", "stopped"]);
  assert.deepEqual(machine.calls, ["run", "pause", "resume", "destroy"]);
  assert.deepEqual(await domain.exited, reason);
  assert.throws(() => domain.start(), /was started already/);
});

test("leaving a block destroys its domain, started or not", async () => {
  const { domain } = await create();
  await domain[Symbol.asyncDispose]();
  assert.equal(domain.state, "stopped");
});

test("what happens at a stop is configured", async () => {
  const { domain, machine } = await create({ on_crash: "restart" });
  const notices: string[] = [];
  domain.onNotice((notice) => notices.push(notice));
  domain.start();
  machine.stop({ kind: "crash", message: "triple fault at 0008:00100000" });
  await turn();
  assert.deepEqual(machine.calls, ["run", "reset", "run"]);
  assert.deepEqual(notices, ["triple fault at 0008:00100000; starting again"]);
  machine.stop({ kind: "poweroff", message: "switched off" });
  assert.deepEqual(await domain.exited, { kind: "poweroff", message: "switched off" });
});

test("a person is told when the thread that generates code is lost, while the domain lives", async () => {
  const generator = new RegionGenerator(() => {
    throw new RangeError("no room");
  });
  const host = { ...NO_HOST, generator };
  const options = { host, machine: (given: MachineOptions) => new FakeMachine(given) };
  const [stopped, living] = [await Domain.create({}, options), await Domain.create({}, options)];
  const notices: string[] = [];
  stopped.onNotice((notice) => notices.push(`stopped: ${notice}`));
  living.onNotice((notice) => notices.push(notice));
  await stopped.destroy();
  await turn();
  assert.equal(generator.available(), false);
  assert.equal(notices.length, 1);
  assert.match(notices[0]!, /^code is generated on the guest's thread.*RangeError: no room$/);
  await living.destroy();
});

test("under the instruction clock the guest begins after what its starter does next", async () => {
  const { domain, machine } = await create({ clock: "instructions" });
  domain.start();
  assert.equal(machine.clock.holds, 1);
  const real = await create({ clock: "real" });
  real.domain.start();
  assert.equal(real.machine.clock.holds, 0);
});

test("waiting for the screen ends when it matches, fails in guest time, and when the domain stops", async () => {
  const { domain, machine } = await create({ clock: "instructions" });
  domain.start();
  const found = domain.screen.waitFor(/^C:.>/);
  machine.clock.advance(50);
  machine.print("Starting", 0);
  machine.print("C:\\>", 1);
  machine.clock.advance(20);
  assert.equal((await found)[0], "C:\\>");
  assert.ok(machine.clock.holds > 1, "the guest waits while the program acts on what it saw");

  const late = domain.screen.waitFor(/never/, { timeout: 1000 });
  machine.clock.advance(1100);
  await assert.rejects(late, /timed out waiting for \/never\/ on the screen, which shows:\nStarting/);

  const open = domain.waitFor(/never/);
  await Promise.all([assert.rejects(open, /stopped while it was waited for: destroyed/), domain.destroy()]);
  await assert.rejects(domain.waitFor(/never/), /stopped/);
});

test("waits can be aborted", async () => {
  const { domain } = await create();
  const abort = new AbortController();
  const wait = domain.screen.waitFor(/x/, { signal: abort.signal });
  abort.abort();
  await assert.rejects(wait, /aborted/);
  await assert.rejects(domain.screen.waitFor(/x/, { signal: abort.signal }), /aborted/);
});

test("serial output arrives in batches and is used up by what it matched", async () => {
  const { domain, machine } = await create();
  const chunks: string[] = [];
  domain.serial[0]!.onData((bytes) => chunks.push(String.fromCharCode(...bytes)));
  for (const character of "login: ok\nlogin: ") machine.options.transmit(0, character.charCodeAt(0));
  await turn();
  assert.deepEqual(chunks, ["login: ok\nlogin: "]);
  assert.equal((await domain.serial[0]!.waitFor(/login: (\w+)/))[1], "ok");
  assert.equal(domain.serial[0]!.text(), "\nlogin: ");
  assert.equal((await domain.waitFor(/login: $/)).index, 1);
});

test("serial input that does not fit is offered again", async () => {
  const { domain, machine } = await create();
  domain.serial[0]!.write("hello world");
  assert.equal(machine.received.length, 4);
  machine.clock.advance(5);
  assert.equal(String.fromCharCode(...machine.received), "hello world");
});

test("the keyboard types, presses and tells when it is done", async () => {
  const { domain, machine } = await create();
  let done = false;
  const typed = domain.keyboard.type("dir\n").then(() => {
    done = true;
  });
  void domain.keyboard.press("ctrl-alt-del");
  domain.keyboard.key("KeyA", true);
  domain.keyboard.character("A", ["AltLeft"]);
  domain.keyboard.character("é", []);
  assert.deepEqual(machine.keys, ["dir\n", "ControlLeft-AltLeft-Delete", "+KeyA", "AltLeft-ShiftLeft-KeyA"]);
  machine.clock.advance(20);
  await turn();
  assert.equal(done, false);
  machine.keyQueue.pending = 0;
  machine.clock.advance(20);
  await typed;
});

test("images are opened, padded, overlaid and handed to the drives", async () => {
  const bootSector = new Uint8Array(512);
  const disk = new Uint8Array(1008 * 512 * 4);
  const { domain, machine } = await create({ fda: bootSector, hdb: disk, snapshot: true });
  const { floppies, units } = machine.options;
  assert.equal(floppies.length, 1);
  assert.deepEqual(floppies[0]!.medium?.geometry, { cylinders: 80, heads: 2, sectors: 18 });
  assert.equal(floppies[0]!.medium?.writeProtected, false);
  const [first, second] = units;
  assert.equal(first, undefined);
  assert.ok(second?.kind === "disk");
  assert.deepEqual(second.geometry, { cylinders: 4, heads: 16, sectors: 63 });
  await second.backend.write(0, Uint8Array.of(1));
  assert.equal(disk[0], 0, "snapshot: the image stays as it was");
  await domain.destroy();
});

test("a configuration that cannot work is refused before anything runs", async () => {
  const refused: [DomainConfig, RegExp][] = [
    [{ fda: "x.img" }, /x\.img: there are no files here/],
    [{ hda: new Uint8Array(1000) }, /the image for hda has 1000 bytes, no whole number/],
    [{ fda: new Uint8Array(3_000_000) }, /too large for a floppy/],
    [{ hda: new Uint8Array(0) }, /is empty/],
    [{ kernel: new Uint8Array(1_474_560) }, /is no kernel but a floppy image/],
    [{ serial: "stdio" }, /serial=stdio: there is no such place here/],
  ];
  for (const [config, message] of refused) {
    await assert.rejects(
      create(config),
      (error) => error instanceof VmxonError && message.test(error.message),
      String(message),
    );
  }
});

test("exit counts come most frequent first", async () => {
  const { domain } = await create();
  assert.deepEqual(
    domain.exitCounts().map(({ name }) => name),
    ["I/O instruction", "HLT"],
  );
  assert.equal(domain.instructions(), 1234);
});
