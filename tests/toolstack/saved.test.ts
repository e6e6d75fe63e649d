/** Saving and restoring through the library: the same run goes on, and what does not fit is refused by name. */
import assert from "node:assert/strict";
import { mkdtemp, rm, utimes, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { assemble } from "../../src/firmware/assembler.ts";
import { Domain, type DomainConfig, VmxonError } from "../../src/index.ts";
import { fileOf, framesOf } from "../support/saved-file.ts";

/** Counts on the screen, writes its count to the disk and reads it back, waits for a tick; switches off at 60. */
const PROGRAM = `
  xor ax, ax
  mov ds, ax
  mov es, ax
  mov sp, 7C00h
  sti
  db 0DBh, 0E3h ; fninit
next:
  inc word [count]
  mov ax, [count]
  mov [1000h], ax
  mov ax, 0301h
  call disk
  mov word [1000h], 0
  mov ax, 0201h
  call disk
  mov ax, [1000h]
  cmp ax, [count]
  mov al, '!'
  jne show
  mov al, [count]
  and al, 63
  add al, '0'
show:
  mov ah, 0Eh
  int 10h
  mov bx, count
  db 0DFh, 07h ; fild word [bx]
  db 0D9h, 0FAh ; fsqrt
  mov bx, sum
  db 0DCh, 07h ; fadd qword [bx]
  db 0DDh, 1Fh ; fstp qword [bx]
  hlt
  cmp word [count], 60
  jb next
  mov ax, 5301h
  xor bx, bx
  int 15h
  mov ax, 530Eh
  mov cx, 0102h
  int 15h
  mov ax, 5307h
  mov bx, 1
  mov cx, 3
  int 15h
disk:
  mov bx, 1000h
  mov cx, 2
  mov dx, 80h
  int 13h
  ret
count:
  dw 0
sum:
  dd 0, 0`;

const folder = await mkdtemp(join(tmpdir(), "vmxon-saved-"));
after(() => rm(folder, { recursive: true }));

function bootSector(): Uint8Array {
  const sector = new Uint8Array(512);
  sector.set(assemble(PROGRAM, { origin: 0x7c00, bits: 16 }).code);
  sector.set([0x55, 0xaa], 510);
  return sector;
}

/** A disk that boots the program, as a file. */
async function diskFile(name: string): Promise<string> {
  const path = join(folder, name);
  const disk = new Uint8Array(1 << 20);
  disk.set(bootSector());
  await writeFile(path, disk);
  return path;
}

const config = (hda: string): DomainConfig => ({ hda, memory: 4, clock: "instructions", snapshot: true });

/** Started, and stopped where the screen shows `pattern`. */
async function startedUntil(domain: Domain, pattern: RegExp): Promise<Domain> {
  domain.start();
  await domain.screen.waitFor(pattern, { timeout: 60_000 });
  return domain;
}

/** Run to the end; what is left then. */
async function ending(domain: Domain): Promise<string> {
  const { kind } = await domain.exited;
  assert.equal(kind, "poweroff");
  return `${domain.stateHash()} ${domain.guestTime()} ${domain.instructions()}`;
}

async function savedAt(pattern: RegExp, disk: string): Promise<Uint8Array> {
  const domain = await startedUntil(await Domain.create(config(disk)), pattern);
  return domain.save({ afterwards: "destroy" });
}

const refused =
  (pattern: RegExp, code = "state") =>
  (error: unknown) => {
    assert.ok(error instanceof VmxonError, String(error));
    assert.equal(error.code, code, error.message);
    assert.match(error.message, pattern);
    return true;
  };

test("a domain that was saved and restored ends as one that was not, to the last bit", async () => {
  const disk = await diskFile("same.img");
  const whole = await startedUntil(await Domain.create(config(disk)), /123/);
  const expected = await ending(whole);
  for (const pattern of [/1/, /12345/, /[<=>?@]/]) {
    const restored = await Domain.restore(await savedAt(pattern, disk));
    restored.start();
    assert.equal(await ending(restored), expected, String(pattern));
    assert.doesNotMatch(restored.screen.text(), /!/, "the disk held what was written before");
  }
});

test("a domain goes on after it was saved, pauses or ends, as was asked for", async () => {
  const disk = await diskFile("afterwards.img");
  const domain = await startedUntil(await Domain.create(config(disk)), /12/);
  await domain.save();
  assert.equal(domain.state, "running");
  await domain.save({ afterwards: "pause" });
  assert.equal(domain.state, "paused");
  const bytes = await domain.save();
  domain.resume();
  await domain.save({ afterwards: "destroy" });
  assert.equal((await domain.exited).kind, "destroyed");
  const restored = await Domain.restore(bytes);
  restored.start();
  await ending(restored);
  await assert.rejects(restored.save(), refused(/not running/, "usage"));
});

test("under the host's clock guest time goes on where it was", async () => {
  const disk = await diskFile("real.img");
  const domain = await startedUntil(await Domain.create({ ...config(disk), clock: "real" }), /123/);
  const bytes = await domain.save({ afterwards: "pause" });
  const then = domain.guestTime();
  await domain.destroy();
  await new Promise((resolve) => setTimeout(resolve, 300));
  const restored = await Domain.restore(bytes);
  assert.ok(restored.guestTime() - then < 200, `${restored.guestTime() - then} ms passed meanwhile`);
  restored.start();
  assert.equal((await restored.exited).kind, "poweroff");
  assert.doesNotMatch(restored.screen.text(), /!/);
});

test("images without names must be given again", async () => {
  const disk = new Uint8Array(1 << 20);
  disk.set(bootSector());
  const domain = await startedUntil(await Domain.create({ hda: disk, memory: 4, clock: "instructions" }), /123/);
  const bytes = await domain.save({ afterwards: "destroy" });
  await assert.rejects(Domain.restore(bytes), refused(/hda had no name/));
  const other = disk.slice();
  other[600]! ^= 1;
  await assert.rejects(Domain.restore(bytes, { config: { hda: other } }), refused(/hda has other contents/));
  const restored = await Domain.restore(bytes, { config: { hda: disk } });
  restored.start();
  await ending(restored);
});

test("an image that was changed, or is not there, is refused by its name", async () => {
  const disk = await diskFile("changed.img");
  const bytes = await savedAt(/12/, disk);
  await utimes(disk, 1e9, 1e9);
  await assert.rejects(Domain.restore(bytes), refused(/changed\.img was written to after/));
  const forced = await Domain.restore(bytes, { force: true });
  forced.start();
  await ending(forced);
  await writeFile(disk, new Uint8Array(1 << 21));
  await assert.rejects(Domain.restore(bytes), refused(/hda held 1048576 bytes/));
  await rm(disk);
  await assert.rejects(Domain.restore(bytes), refused(/changed\.img: cannot open it: there is no such file/, "image"));
});

test("another machine than the saved one is refused, with what differs", async () => {
  const disk = await diskFile("machine.img");
  const bytes = await savedAt(/12/, disk);
  for (const [instead, what] of [
    [{ memory: 8 }, /memory was 4194304, and is 8388608/],
    [{ cpuid: "486" }, /processor model was max, and is 486/],
    [{ clock: "real" }, /clock was instructions/],
    [{ acpi: false }, /acpi is unknown here/],
    [{ snapshot: false }, /hda held/],
  ] as const)
    await assert.rejects(Domain.restore(bytes, { config: instead }), refused(what));
});

test("parts that are missing, unknown or of the wrong kind are refused by name", async () => {
  const bytes = await savedAt(/12/, await diskFile("parts.img"));
  type Frames = [
    { machine: { roms: Record<string, string> }; regions: Record<string, number> },
    {
      machine: {
        devices: Record<string, Record<string, unknown>>;
        hvm: { vcpu: { registers: Record<string, number> } };
      };
    },
    ...unknown[],
  ];
  const cases: readonly (readonly [RegExp, (frames: Frames) => void])[] = [
    [/devices\.pit is missing/, ([, state]) => delete state.machine.devices["pit"]],
    [/devices\.toaster is unknown/, ([, state]) => (state.machine.devices["toaster"] = {})],
    [/devices\.pic\.\S+ is missing/, ([, state]) => (state.machine.devices["pic"] = {})],
    [/devices\.rtc\.index is a text/, ([, state]) => (state.machine.devices["rtc"]!["index"] = "7")],
    [/devices\.rtc\.index is NaN/, ([, state]) => (state.machine.devices["rtc"]!["index"] = Number.NaN)],
    [/the saved state of rtc is none/, ([, state]) => (state.machine.devices["rtc"]!["index"] = 1e6)],
    [/registers\.cpl is 7/, ([, state]) => (state.machine.hvm.vcpu.registers["cpl"] = 7)],
    [/another rombios/, ([manifest]) => (manifest.machine.roms["rombios"] = "0")],
    [/a piece of ram has no place/, (frames) => frames.splice(2, 0, ["ram", 2 ** 40, new Uint8Array(4096)])],
    [/a piece of rom has no place/, (frames) => frames.splice(2, 0, ["rom", 0, new Uint8Array(4096)])],
    [/its end is missing/, (frames) => frames.pop()],
    [/its end is missing/, (frames) => frames.splice(-1, 0, { what: 1 })],
    [/behind its end/, (frames) => frames.push("end")],
  ];
  for (const [what, damage] of cases) {
    const frames = (await framesOf(bytes)) as Frames;
    damage(frames);
    await assert.rejects(Domain.restore(await fileOf(frames)), refused(what), String(what));
  }
});

test("a file cut off anywhere, or of another kind, is refused", async () => {
  const bytes = await savedAt(/12/, await diskFile("cut.img"));
  for (let i = 1; i <= 24; i++) {
    const end = i < 16 ? i : Math.floor((bytes.length * (i - 15)) / 10);
    await assert.rejects(Domain.restore(bytes.subarray(0, end)), refused(/damaged or cut off|no saved domain/));
  }
  const newer = bytes.slice();
  newer[8] = 9;
  await assert.rejects(Domain.restore(newer), refused(/newer vmxon \(format 9/));
  await assert.rejects(Domain.restore(new Uint8Array(0)), refused(/no saved domain/));
});
