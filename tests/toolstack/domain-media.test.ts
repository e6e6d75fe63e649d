/** Floppies and CDs that are changed while a domain lives. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { VmxonError } from "../../src/common/errors.ts";
import { Domain } from "../../src/toolstack/domain.ts";
import type { MachineOptions } from "../../src/toolstack/machine.ts";
import { MemoryBackend } from "../../src/toolstack/memory-backend.ts";
import { FakeMachine } from "./fake-machine.ts";

/** A medium that says whether it was closed. */
class Watched extends MemoryBackend {
  closed = false;
  override async close(): Promise<void> {
    this.closed = true;
  }
}

const disc = (sectors: number): Watched => new Watched(new Uint8Array(sectors * 2048));
const guestError = (error: unknown): boolean => error instanceof VmxonError && error.code === "guest";

interface Made {
  readonly domain: Domain;
  readonly options: MachineOptions;
  readonly first: Watched;
  readonly floppy: Watched;
  /** The guest locks the drive hdc. */
  lock(): void;
}

async function create(): Promise<Made> {
  let machine: FakeMachine | undefined;
  const first = disc(20);
  const floppy = new Watched(new Uint8Array(737_280));
  const domain = await Domain.create(
    { fda: floppy, disk: [",raw,hdd,cdrom"], cdrom: first },
    { machine: (options) => (machine = new FakeMachine(options)) },
  );
  const lock = (): void => {
    const tray = machine?.trays[2];
    // The reset is told first.
    for (let i = 0; i < 2; i++) tray?.execute(Uint8Array.of(0x1e, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0));
  };
  return { domain, options: machine!.options, first, floppy, lock };
}

test("drives are listed with what is in them", async () => {
  const { domain } = await create();
  assert.deepEqual(domain.media.drives(), [
    { drive: "fda", kind: "floppy", medium: "the image for fda", locked: false, open: false },
    { drive: "hdc", kind: "cdrom", medium: "the image for hdc", locked: false, open: false },
    { drive: "hdd", kind: "cdrom", medium: undefined, locked: false, open: false },
  ]);
  await domain.destroy();
});

test("a floppy is changed: the change line tells, the old image is closed", async () => {
  const { domain, options, floppy } = await create();
  const [drive] = options.floppies;
  await domain.media.insert("fda", new Uint8Array(1_474_560));
  assert.equal(drive!.changed, true);
  assert.equal(drive!.medium?.geometry.sectors, 18);
  assert.equal(floppy.closed, true);
  drive!.changed = false;
  await domain.media.eject("fda");
  assert.deepEqual(drive, { medium: undefined, changed: true });
  drive!.changed = false;
  await domain.media.eject("fda");
  assert.equal(drive!.changed, false, "nothing was there");
  await assert.rejects(domain.media.insert("fda", new Uint8Array(5_000_000)), /too large for a floppy/);
  await domain.destroy();
});

test("a CD is changed unless the guest has locked the drive, and by force even then", async () => {
  const { domain, options, first } = await create();
  const unit = options.units[2];
  assert.ok(unit?.kind === "cdrom");
  await domain.media.insert("hdc", disc(30));
  assert.equal(first.closed, true);
  assert.equal(unit.medium?.backend.size, 30 * 2048);
  const tray = domain.media.drives()[1]!;
  assert.equal(tray.open, false);
  await domain.destroy();
  const locked = await create();
  const lockedUnit = locked.options.units[2];
  assert.ok(lockedUnit?.kind === "cdrom");
  locked.lock();
  await assert.rejects(locked.domain.media.eject("hdc"), guestError);
  await assert.rejects(locked.domain.media.insert("hdc", disc(5)), guestError);
  assert.equal(lockedUnit.medium?.backend.size, locked.first.size);
  const second = disc(5);
  await locked.domain.media.insert("hdc", second, { force: true });
  assert.equal(lockedUnit.medium?.backend.size, 5 * 2048);
  assert.equal(locked.first.closed, true);
  await locked.domain.destroy();
  assert.equal(second.closed, true);
});

test("what is no drive for media is named, and raw CD images are refused with what to do", async () => {
  const { domain } = await create();
  await assert.rejects(domain.media.insert("hda", disc(1)), /hda is no floppy or CD drive.*fda, hdc, hdd/);
  const raw = new Uint8Array(2352 * 20).fill(0xff, 1, 11);
  await assert.rejects(domain.media.insert("hdd", raw), /2352 bytes.*bchunk/);
  await domain.media.insert("hdd", new Uint8Array(3000));
  assert.equal(domain.media.drives()[2]!.medium, "the image for hdd");
  await domain.destroy();
});
