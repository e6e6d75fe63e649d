/** The domain's run loop: stopping, halting and waking, pause, reset, crashes, firmware traps, under both clocks. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { PostPort } from "../../src/devices/system-ports.ts";
import { assemble } from "../../src/firmware/assembler.ts";
import { FIRMWARE_PORT, type Service } from "../../src/hypervisor/firmware-service.ts";
import { HvmDomain, type HvmDomainOptions } from "../../src/hypervisor/hvm-domain.ts";
import { EXIT, PROC } from "../../src/processor/exits.ts";

const ORIGIN = 0x7c00;
const OFF_PORT = 0xf4;
const ROM_BASE = 0xf0000;

interface Options {
  readonly clock?: HvmDomainOptions["clock"];
  readonly bits?: 16 | 32;
}

/** A domain with RAM only, code at 7C00h, and a port by which the guest switches itself off with AL as the message. */
function machine(text: string, options: Options = {}): { domain: HvmDomain; values: number[] } {
  const domain = new HvmDomain({ memory: 1 << 20, clock: options.clock ?? "instructions" });
  const { code } = assemble(text, { origin: ORIGIN, bits: options.bits ?? 16 });
  const values: number[] = [];
  domain.bus.claimPorts({
    name: "off",
    base: OFF_PORT,
    count: 2,
    width: 1,
    device: {
      read: () => 0xff,
      write(offset, _size, value) {
        values.push(value);
        if (offset === 0) domain.powerOff();
      },
    },
  });
  domain.onReset = () => {
    domain.memory.write(ORIGIN, code);
    domain.enter({ mode: options.bits === 32 ? "protected" : "real", eip: ORIGIN, esp: 0x7000 });
    if (options.bits !== 32) domain.cpu.setSegment(1, 0, 0, 0xffff, 0x9b);
  };
  return { domain, values };
}

/** An interrupt controller whose one interrupt a test raises. */
function controller(domain: HvmDomain, vector: number): { raise(): void; taken: number } {
  let pending = false;
  const state = {
    taken: 0,
    raise(): void {
      pending = true;
      domain.intr.set(true);
    },
  };
  domain.setInterruptController({
    line: () => ({ set() {} }),
    get pending() {
      return pending;
    },
    acknowledge() {
      pending = false;
      state.taken++;
      return vector;
    },
  });
  return state;
}

test("a guest that switches off ends the run, and the exits are counted by name", async () => {
  const { domain, values } = machine("mov al, 5\nout 0xf5, al\nmov al, 7\nout 0xf4, al\nud2");
  assert.deepEqual(await domain.run(), { kind: "poweroff", message: "the guest switched the machine off" });
  assert.deepEqual(values, [5, 7]);
  assert.equal(domain.exitCounts().find(({ name }) => name === "ioInstruction")?.count, 2);
  assert.equal(domain.instructions(), 4);
});

test("a device that only keeps a byte sees what the guest wrote, and the guest what the device holds", async () => {
  const { domain, values } = machine("in al, 0x80\nout 0xf5, al\nmov al, 9\nout 0x80, al\nin al, 0x81\nout 0xf4, al");
  const post = new PostPort();
  post.write(0, 1, 0x33);
  domain.bus.claimPorts({ name: "post", base: 0x80, count: 1, width: 1, device: post });
  await domain.run();
  assert.deepEqual([values, post.code], [[0x33, 0xff], 9]);
});

test("the time-stamp counter is never behind the time that a device went by", async () => {
  const { domain } = machine("rdtsc\nin al, 0xe0\nrdtsc\nmov ebx, eax\nout 0xf4, al", { clock: "real", bits: 32 });
  let seen = 0;
  const read = (): number => {
    for (let i = 0; i < 100; i++) seen = domain.clock.now();
    return 0;
  };
  domain.bus.claimPorts({ name: "late", base: 0xe0, count: 1, width: 1, device: { read, write() {} } });
  await domain.run();
  assert.ok(domain.cpu.gpr(3) >= Math.floor(seen), `${domain.cpu.gpr(3)} after ${seen}`);
});

test("memory sizes that cannot be are refused with what can", () => {
  for (const memory of [0, 4096, 100_000, 4 << 30])
    assert.throws(() => new HvmDomain({ memory, clock: "real" }), /multiple of 4 KB from 64 KB to 1952 MB/);
});

for (const clock of ["instructions", "real"] as const) {
  test(`a halted guest wakes by a timer's interrupt, ${clock} clock`, async () => {
    const { domain, values } = machine(
      `mov word [0x80], handler
      mov word [0x82], 0
      sti
      hlt
      mov al, 1
      out 0xf4, al
      handler: mov al, 9
      out 0xf5, al
      iret`,
      { clock },
    );
    const pic = controller(domain, 0x20);
    const timer = domain.clock.timer(() => pic.raise());
    timer.arm(domain.clock.now() + 5e6);
    assert.equal((await domain.run()).kind, "poweroff");
    assert.deepEqual(values, [9, 1]);
    assert.equal(pic.taken, 1);
    assert.ok(domain.clock.now() >= 5e6);
  });

  test(`an interrupt from outside wakes a guest that has no deadline, ${clock} clock`, async () => {
    const { domain, values } = machine(
      "mov word [0x80], there\nmov word [0x82], 0\nsti\nhlt\nthere: mov al, 3\nout 0xf4, al",
      {
        clock,
      },
    );
    const pic = controller(domain, 0x20);
    setTimeout(() => pic.raise(), 20);
    assert.equal((await domain.run()).kind, "poweroff");
    assert.deepEqual(values, [3]);
  });

  test(`a busy guest does not keep the host from its turn, ${clock} clock`, async () => {
    const { domain } = machine("again: jmp again", { clock });
    setTimeout(() => domain.destroy(), 30);
    assert.equal((await domain.run()).kind, "destroyed");
  });

  test(`a paused guest stands still and goes on, ${clock} clock`, async () => {
    const { domain, values } = machine("mov ecx, 3000000\nagain: dec ecx\njnz again\nmov al, 1\nout 0xf4, al", {
      clock,
    });
    const run = domain.run();
    await new Promise((resolve) => setTimeout(resolve, 1));
    domain.pause();
    await new Promise((resolve) => setTimeout(resolve, 20));
    const [instructions, now] = [domain.instructions(), domain.clock.now()];
    await new Promise((resolve) => setTimeout(resolve, 20));
    assert.deepEqual([domain.instructions(), domain.clock.now()], [instructions, now]);
    domain.resume();
    assert.equal((await run).kind, "poweroff");
    assert.deepEqual(values, [1]);
  });
}

test("interrupts wait for IF, and are taken as soon as it is set", async () => {
  const { domain, values } = machine(
    `mov word [0x80], there
    mov word [0x82], 0
    cli
    mov ecx, 1000
    again: dec ecx
    jnz again
    sti
    nop
    nop
    ud2
    there: mov ax, [esp]
    out 0xf5, al
    out 0xf4, al`,
  );
  const pic = controller(domain, 0x20);
  pic.raise();
  assert.equal((await domain.run()).kind, "poweroff");
  assert.equal(pic.taken, 1);
  assert.equal(values.length, 2);
});

test("reset starts the machine anew, with memory as the reset finds it", async () => {
  const { domain, values } = machine(
    "mov al, [0x500]\nout 0xf5, al\ninc byte [0x500]\ncmp al, 2\nje done\nlidt [0x600]\nint3\ndone: out 0xf4, al",
  );
  domain.memory.write(0x600, new Uint8Array(6));
  const reason = await domain.run();
  assert.equal(reason.kind, "poweroff");
  assert.deepEqual(values, [0, 1, 2, 2], "a triple fault resets, as a PC's chipset does");
});

test("a domain that stopped can run again after a reset", async () => {
  const { domain, values } = machine("mov al, 1\nout 0xf4, al");
  await domain.run();
  domain.reset();
  await domain.run();
  assert.deepEqual(values, [1, 1]);
});

test("an exit that nothing handles stops the domain with what and where", async () => {
  const { domain } = machine("nop\nmov eax, dr7");
  const { onReset } = domain;
  domain.onReset = () => {
    onReset?.();
    domain.cpu.set("procControls", domain.cpu.get("procControls") | PROC.movDr);
  };
  const reason = await domain.run();
  assert.equal(reason.kind, "crash");
  assert.match(reason.message, /VM exit drAccess that nothing handles, at CS:EIP 0:7c01/);
  assert.equal(domain.exitCounts().at(-1)?.reason, EXIT.drAccess);
});

test("a guest state that cannot be entered stops the domain with the reason", async () => {
  const { domain } = machine("nop");
  const { onReset } = domain;
  domain.onReset = () => {
    onReset?.();
    domain.cpu.set("eflags", 0x8002);
  };
  assert.match((await domain.run()).message, /VM entry failed: reserved bits of EFLAGS are set/);
});

test("a defect of a device stops its domain only", async () => {
  const { domain } = machine("in al, 0x99\nud2");
  domain.bus.claimPorts({
    name: "broken",
    base: 0x99,
    count: 1,
    device: {
      read() {
        throw new TypeError("no such thing");
      },
      write() {},
    },
  });
  const reason = await domain.run();
  assert.equal(reason.kind, "crash");
  assert.match(reason.message, /internal error: no such thing, at CS:EIP/);
});

/** A machine whose ROM at F0000h has one service, which its stub calls before it goes on to `after`. */
function withFirmware(service: Service, after = "mov al, bl\nout 0xf4, al"): { domain: HvmDomain; values: number[] } {
  const made = machine(`jmp 0xf000:0`);
  const { code, labels } = assemble(`out ${FIRMWARE_PORT}, al\nbehind: ${after}`, { origin: 0, bits: 16 });
  const image = new Uint8Array(4096);
  image.set(code);
  made.domain.addRom({ name: "test", base: ROM_BASE, image, services: new Map([[labels.get("behind")!, service]]) });
  return made;
}

test("a ROM stub's trap calls its service with the guest's registers and memory", async () => {
  const { domain, values } = withFirmware(({ cpu, memory, io }) => {
    cpu.ebx = 0x42;
    memory.write8(0x500, 0x55);
    io.out(OFF_PORT + 1, 1, 0x66);
  });
  assert.equal((await domain.run()).kind, "poweroff");
  assert.deepEqual(values, [0x66, 0x42]);
  assert.equal(domain.memory.read8(0x500), 0x55);
});

test("while a service's promise is open the guest stands still", async () => {
  let open = false;
  const { domain, values } = withFirmware(async ({ cpu }) => {
    open = true;
    await new Promise((resolve) => setTimeout(resolve, 20));
    open = false;
    cpu.ebx = 7;
  });
  assert.equal((await domain.run()).kind, "poweroff");
  assert.equal(open, false);
  assert.deepEqual(values, [7]);
});

test("a service that fails stops the domain with its message", async () => {
  const { domain } = withFirmware(() => Promise.reject(new Error("the disk is gone")));
  assert.deepEqual(await domain.run(), { kind: "crash", message: "firmware service failed: the disk is gone" });
});

test("writes to the firmware port from elsewhere are ordinary port writes", async () => {
  const { domain, values } = machine(`mov al, 1\nout ${FIRMWARE_PORT}, al\nout 0xf4, al`);
  assert.equal((await domain.run()).kind, "poweroff");
  assert.deepEqual(values, [1]);
});

test("the guest cannot write to ROM", async () => {
  const { domain, values } = machine("mov ax, 0xf000\nmov ds, ax\nmov byte [0], 1\nmov al, [0]\nout 0xf4, al");
  domain.addRom({ name: "test", base: ROM_BASE, image: new Uint8Array(4096).fill(0x99), services: new Map() });
  await domain.run();
  assert.deepEqual(values, [0x99]);
});

test("single-step traps come behind instructions that the hypervisor carries out", async () => {
  const { domain, values } = machine(
    `mov word [4], trap
    mov word [6], 0
    pushf
    or word [0x6ffe], 0x100
    popf
    in al, 0x80
    cpuid
    nop
    mov al, 1
    out 0xf4, al
    trap: push bp
    mov bp, sp
    mov al, [bp+2]
    out 0xf5, al
    pop bp
    iret`,
  );
  await domain.run();
  const first = values[0]!;
  assert.deepEqual(
    values.slice(0, 4).map((value) => value - first),
    [0, 2, 3, 5],
    "behind IN, CPUID, NOP and MOV",
  );
});

test("VMCALL is a console", async () => {
  const { domain } = machine("mov al, 0x41\ndb 0x0f, 0x01, 0xc1\nout 0xf4, al");
  const characters: number[] = [];
  domain.console = (character) => characters.push(character);
  await domain.run();
  assert.deepEqual(characters, [0x41]);
});

test("two runs under the instruction clock are the same run", async () => {
  const once = async (): Promise<number[]> => {
    const { domain, values } = machine(
      "mov ecx, 5000\nagain: rdtsc\nxor ebx, eax\nin al, 0x70\ndec ecx\njnz again\nmov al, bl\nout 0xf5, al\nout 0xf4, al",
    );
    await domain.run();
    return [...values, domain.instructions(), domain.clock.now()];
  };
  assert.deepEqual(await once(), await once());
});

test("a domain starts in protected mode when the builder says so", async () => {
  const { domain, values } = machine("mov eax, cr0\nand al, 1\nout 0xf4, al", { bits: 32 });
  await domain.run();
  assert.deepEqual(values, [1]);
});
