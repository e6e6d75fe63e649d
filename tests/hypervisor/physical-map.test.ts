/** What a guest finds in its physical memory: shadowed ROM, memory of devices that moves, and accesses that must be alone. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { assemble } from "../../src/firmware/assembler.ts";
import { type DeviceMemory, type MmioDevice, OVER_RAM } from "../../src/hypervisor/device.ts";
import { HvmDomain } from "../../src/hypervisor/hvm-domain.ts";

const PAGE = 4096;
const ORIGIN = 0x7c00;
const OFF_PORT = 0xf4;
const ROM = 0xf0000;
const LFB = 0xe0000000;

/** A domain whose guest, flat 32-bit code, switches it off by a write to port F4h. */
function guest(text: string, options: { lockstep?: boolean } = {}): HvmDomain {
  const domain = new HvmDomain({ memory: 1 << 21, clock: "instructions", lockstep: options.lockstep ?? false });
  const { code } = assemble(`${text}\nout ${OFF_PORT}, al`, { origin: ORIGIN, bits: 32 });
  domain.bus.claimPorts({
    name: "off",
    base: OFF_PORT,
    count: 1,
    device: { read: () => 0, write: () => domain.powerOff() },
  });
  domain.onReset = () => {
    domain.memory.write(ORIGIN, code);
    domain.enter({ mode: "protected", eip: ORIGIN, esp: 0x7000 });
  };
  return domain;
}

async function run(domain: HvmDomain): Promise<void> {
  const { kind, message } = await domain.run();
  assert.equal(kind, "poweroff", message);
}

function withRom(domain: HvmDomain): HvmDomain {
  domain.addRom({ name: "rom", base: ROM, image: new Uint8Array(0x10000).fill(0x5a), services: new Map() });
  return domain;
}

for (const lockstep of [false, true]) {
  test(`ROM is copied over itself into shadow RAM, which then stands in its place${lockstep ? ", in lockstep" : ""}`, async () => {
    const domain = withRom(
      guest(
        `mov esi, 0xf0000
        mov edi, esi
        mov ecx, 0x4000
        out 0xe0, al
        rep movsd
        out 0xe1, al
        mov eax, [0xf0000]
        mov dword [0xf0000], 0x11111111
        mov ebx, [0xf0000]
        out 0xe2, al
        mov dword [0xf0000], 0x22222222
        mov edx, [0xf0000]`,
        { lockstep },
      ),
    );
    const states = [
      [false, true],
      [true, true],
      [true, false],
    ] as const;
    domain.bus.claimPorts({
      name: "shadow",
      base: 0xe0,
      count: 3,
      device: {
        read: () => 0,
        write: (port) => {
          const [reads, writes] = states[port as 0 | 1 | 2];
          domain.physical.shadow(ROM, 0x10000, reads, writes);
        },
      },
    });
    await run(domain);
    assert.deepEqual([domain.cpu.gpr(0), domain.cpu.gpr(3), domain.cpu.gpr(2)], [0x5a5a5a5a, 0x11111111, 0x11111111]);
    assert.equal(domain.memory.read32(0xffff0), 0x5a5a5a5a);
    domain.physical.shadow(ROM, 0x10000, false, false);
    assert.equal(domain.memory.read32(ROM), 0x5a5a5a5a);
    domain.memory.write32(ROM, 0);
    domain.physical.shadow(ROM, 0x10000, true, false);
    assert.equal(domain.memory.read32(ROM), 0x11111111);
  });
}

test("without ROM, shadow RAM is written before it is read, and reads find nobody until then", () => {
  const domain = guest("nop");
  domain.physical.shadow(0xc8000, 0x4000, false, true);
  domain.memory.write16(0xc8002, 0x1234);
  assert.equal(domain.memory.read16(0xc8002), 0xffff);
  domain.physical.shadow(0xc8000, 0x4000, true, true);
  assert.equal(domain.memory.read16(0xc8002), 0x1234);
  assert.equal(domain.memory.read8(0xcc000), 0xff);
});

test("a system ROM is at the end of the address space too; of a large one the last 128 KB are below 1 MB", () => {
  const domain = withRom(guest("nop"));
  assert.equal(domain.memory.read32(0xfffffff0), 0x5a5a5a5a);
  assert.equal(domain.memory.read32(0xfffe0000), 0xffffffff);
  const large = guest("nop");
  const image = Uint8Array.from({ length: 0x40000 }, (_, i) => i >> 12);
  large.addRom({ name: "large", base: 2 ** 32 - image.length, image, services: new Map() });
  assert.deepEqual(
    [0xfffc0000, 0xffffffff, 0xe0000, 0xfffff, 0xdffff].map((gpa) => large.memory.read8(gpa)),
    [0, 63, 32, 63, 0xff],
  );
});

test("SMRAM shows RAM in place of the display's memory", () => {
  const domain = guest("nop");
  domain.physical.openSmram(true);
  domain.memory.write8(0xa0000, 7);
  assert.equal(domain.memory.read8(0xa0000), 7);
  domain.physical.openSmram(false);
  assert.equal(domain.memory.read8(0xa0000), 0xff);
});

const NOBODY: MmioDevice = { read: () => 0x77, write() {}, immediate: () => true };

function frameBuffer(domain: HvmDomain): { memory: DeviceMemory; move(base: number | undefined): void } {
  const memory = domain.deviceMemory(1 << 20);
  const place = domain.bus.movableMmio({ name: "lfb", size: 1 << 20, device: NOBODY, memory }, 0);
  return { memory, move: (base) => place.move(base) };
}

test("a frame buffer is memory wherever it stands, below RAM and ROM, and tells which pages the guest has written", async () => {
  const domain = guest(
    `mov dword [${LFB}], 0x01020304
    mov eax, [${LFB} + 0x3000]
    mov dword [${LFB} + 0x5ffe], 0x0a0b0c0d
    out 0xe0, al
    mov dword [${LFB} + 0x5ffe], 0x0a0b0c0d`,
  );
  const { memory, move } = frameBuffer(domain);
  const taken: number[][] = [];
  const take = (): void => {
    const written = new Uint8Array(256);
    const any = memory.takeWritten(written, 0, 256);
    const pages = [...written.keys()].filter((page) => written[page]);
    assert.equal(any, pages.length > 0);
    taken.push(pages);
  };
  domain.bus.claimPorts({ name: "take", base: 0xe0, count: 1, device: { read: () => 0, write: take } });
  move(LFB);
  await run(domain);
  assert.deepEqual([...memory.bytes.subarray(0, 4)], [4, 3, 2, 1]);
  take();
  take();
  domain.memory.write8(LFB + 0x7123, 1);
  take();
  assert.deepEqual(taken, [[0, 5, 6], [5, 6], [], [7]]);
  move(0xd0000000);
  assert.deepEqual([domain.memory.read8(0xd0000003), domain.memory.read8(LFB)], [1, 0xff]);
  move(0x100000);
  assert.equal(domain.memory.read8(0x100003), 0);
  move(undefined);
  assert.equal(domain.memory.read8(0xd0000003), 0xff);
});

test("pages written under several mappings are told, and again when they are written again", async () => {
  // Two linear pages lead to the first page of the frame buffer, which is written through both, twice.
  const domain = guest(
    `mov dword [0x101000], 0x102007
    mov dword [0x102000], ${LFB} + 7
    mov dword [0x102004], ${LFB} + 7
    mov dword [0x102008], ${LFB} + 0x1007
    mov dword [0x101004], 0x103007
    mov dword [0x103000], 0x7007
    mov edi, 0x103000
    mov eax, 7
    fill: stosd
    add eax, 4096
    cmp eax, 0x200000
    jb fill
    mov dword [0x100000], 0x103007
    mov dword [0x100800], 0x102007
    mov eax, 0x100000
    mov cr3, eax
    mov eax, cr0
    or eax, 0x80000000
    mov cr0, eax
    mov byte [0x80000000], 1
    mov byte [0x80001000], 2
    mov byte [0x80002000], 3
    out 0xe0, al
    mov byte [0x80000000], 4
    out 0xe0, al
    mov byte [0x80001000], 5
    out 0xe0, al
    mov eax, cr3
    mov cr3, eax
    mov al, [0x80000000]
    out 0xe0, al`,
  );
  const { memory, move } = frameBuffer(domain);
  const taken: number[][] = [];
  domain.bus.claimPorts({
    name: "take",
    base: 0xe0,
    count: 1,
    device: {
      read: () => 0,
      write: () => {
        const written = new Uint8Array(4);
        memory.takeWritten(written, 0, 4);
        taken.push([...written]);
      },
    },
  });
  move(LFB);
  await run(domain);
  assert.deepEqual(taken, [
    [1, 1, 0, 0],
    [1, 0, 0, 0],
    [1, 0, 0, 0],
    [0, 0, 0, 0],
  ]);
});

test("a page over RAM is the device's, and RAM is there again when it goes", () => {
  const domain = guest("nop");
  domain.memory.write8(0x100000, 5);
  const place = domain.bus.movableMmio({ name: "apic", size: PAGE, device: NOBODY }, OVER_RAM);
  place.move(0x100000);
  assert.equal(domain.memory.read8(0x100000), 0x77);
  place.move(0xfee00000);
  assert.deepEqual([domain.memory.read8(0x100000), domain.memory.read8(0xfee00000)], [5, 0x77]);
});

for (const lockstep of [false, true]) {
  test(`an access that goes by time is made when the time is right, on either engine${lockstep ? ", in lockstep" : ""}`, async () => {
    const times: number[] = [];
    const turns = lockstep ? 2000 : 40000;
    const domain = guest(
      `mov ecx, ${turns}
      again: mov eax, [0xfed00000]
      mov [0xfed00004], ecx
      add dword [0xfed00008], 1
      dec ecx
      jnz again`,
      { lockstep },
    );
    domain.bus.claimMmio({
      name: "timer",
      base: 0xfed00000,
      size: PAGE,
      device: {
        read: (offset) => {
          times.push(offset, domain.clock.now());
          return 0;
        },
        write: (offset) => times.push(offset, domain.clock.now()),
      },
    });
    await run(domain);
    // Five instructions of 10 ns in a turn of the loop; a modification is one of them.
    const expected = [];
    for (let i = 0; i < turns; i++) {
      const at = 20 + i * 50;
      expected.push(0, at, 4, at + 10, 8, at + 20, 8, at + 20);
    }
    assert.deepEqual(times, expected);
  });
}
