/** Configuration keys: types, defaults, words and what is said about mistakes. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { VmxonError } from "../../src/common/errors.ts";
import {
  applyConfigWord,
  CONFIG_SCHEMA,
  type DomainConfig,
  describeConfig,
  isConfigWord,
  resolveConfig,
} from "../../src/toolstack/config.ts";

const MIB = 0x100000;

function fromWords(...words: string[]): DomainConfig {
  const config: DomainConfig = {};
  for (const word of words) applyConfigWord(config, word);
  return config;
}

function rejects(config: DomainConfig | (() => unknown), message: RegExp): void {
  assert.throws(
    typeof config === "function" ? config : () => resolveConfig(config),
    (error) => error instanceof VmxonError && error.code === "config" && message.test(error.message),
  );
}

test("an empty configuration has every default", () => {
  const config = resolveConfig({});
  assert.equal(config.memory, 128 * MIB);
  assert.deepEqual(config.boot, ["floppy", "disk"]);
  assert.equal(config.clock, "real");
  assert.equal(config.cpuModel, "max");
  assert.equal(config.onReboot, "restart");
  assert.equal(config.onPoweroff, "destroy");
  assert.equal(config.snapshot, false);
  assert.deepEqual(config.drives, {});
  assert.equal(config.kernel, undefined);
});

test("memory is in MiB unless it has a unit", () => {
  for (const [value, bytes] of [
    [64, 64 * MIB],
    ["64", 64 * MIB],
    ["64M", 64 * MIB],
    ["64MiB", 64 * MIB],
    ["1G", 1024 * MIB],
    ["4096K", 4 * MIB],
    ["1.5m", 1.5 * MIB],
  ] as const) {
    assert.equal(resolveConfig({ memory: value }).memory, bytes, String(value));
  }
  rejects({ memory: "lots" }, /memory=lots: must be a number of MiB/);
  rejects({ memory: 0.5 }, /from 1 to 1952 MiB/);
  rejects({ memory: "4G" }, /from 1 to 1952 MiB/);
});

test("words set keys, quoted or not, and join lists", () => {
  const config = resolveConfig(
    fromWords(
      "memory=64",
      "name='my guest'",
      "boot=c",
      "snapshot=yes",
      "disk=a.img,raw,hda,rw",
      "disk+=['b.img,raw,hdb,r']",
    ),
  );
  assert.equal(config.memory, 64 * MIB);
  assert.equal(config.name, "my guest");
  assert.deepEqual(config.boot, ["disk"]);
  assert.equal(config.snapshot, true);
  assert.deepEqual(config.drives, {
    hda: { source: "a.img", kind: "disk", access: "rw", format: "raw" },
    hdb: { source: "b.img", kind: "disk", access: "r", format: "raw" },
  });
});

test("a list is written as in xl's files", () => {
  const config = resolveConfig(fromWords(`disk=['a.img,raw,hda,rw', "b.img,raw,hdb,rw"]`));
  assert.deepEqual(Object.keys(config.drives), ["hda", "hdb"]);
  rejects(() => fromWords("disk=['a.img"), /write a list as/);
});

test("words are told from file names", () => {
  assert.ok(isConfigWord("memory=64"));
  assert.ok(isConfigWord("disk+=x"));
  assert.ok(!isConfigWord("freedos.img"));
  assert.ok(!isConfigWord("./a=b.img"));
});

test("an unknown key is refused with a suggestion", () => {
  rejects(() => fromWords("memroy=64"), /unknown key "memroy"\. Did you mean "memory"\?/);
  rejects(() => fromWords("qqqqqq=1"), /unknown key "qqqqqq"\. The keys are listed by: vmxon help config/);
  rejects({ bootorder: "a" } as DomainConfig, /unknown key "bootorder"/);
  rejects({ toString: 1 } as unknown as DomainConfig, /unknown key/);
});

test("values of the wrong kind are refused with what is expected", () => {
  rejects({ clock: "virtual" as "real" }, /clock=virtual: must be real or instructions/);
  rejects({ cpuid: "pentum" as "pentium" }, /cpuid=pentum: must be 486 or pentium or .*max.*pentium/s);
  rejects({ on_reboot: "restat" as "restart" }, /Did you mean "restart"\?/);
  rejects({ snapshot: "maybe" as unknown as boolean }, /snapshot=maybe: must be 1 or 0/);
  rejects({ boot: "x" }, /use the letters a \(floppy\), c \(disk\) and d \(CD\)/);
  rejects({ boot: "n" }, /not supported yet/);
  rejects({ serial: "pty" }, /must be stdio, file:NAME or none/);
  rejects({ serial: ["none", "none", "none"] }, /two serial ports/);
  rejects({ hda: 5 as unknown as string }, /hda=5: must be the name of an image/);
  rejects({ rtc_timeoffset: 1.5 }, /whole number/);
  rejects({ start_time: "yesterday", clock: "instructions" }, /must be a date/);
});

test("letters of devices that are not there are passed over when others are given", () => {
  assert.deepEqual(resolveConfig({ boot: "cna" }).boot, ["disk", "floppy"]);
});

test("a CD drive is hdc or where a disk specification puts it, and comes last in the boot order", () => {
  const { drives, boot } = resolveConfig({ cdrom: "a.iso", disk: ",raw,hdd,cdrom" });
  assert.deepEqual(drives, {
    hdc: { source: "a.iso", kind: "cdrom", access: "r" },
    hdd: { source: undefined, kind: "cdrom", access: "r", format: "raw" },
  });
  assert.deepEqual(boot, ["floppy", "disk", "cdrom"]);
  assert.deepEqual(resolveConfig({}).boot, ["floppy", "disk"]);
  rejects({ cdrom: "a.iso", hdc: "b.img" }, /drive hdc is given twice/);
});

test("a drive cannot be given twice", () => {
  rejects({ hda: "a.img", disk: "b.img,raw,xvda,w" }, /drive hda is given twice/);
});

test("command line, root and extra are put together", () => {
  const { commandLine } = resolveConfig({ kernel: "bzImage", cmdline: "quiet", root: "/dev/sda1", extra: "ro" });
  assert.equal(commandLine, "quiet root=/dev/sda1 ro");
  rejects({ cmdline: "quiet" }, /no kernel; add -kernel FILE/);
});

test("the start time belongs to the instruction clock", () => {
  const time = Date.UTC(1999, 11, 31, 23, 59, 50);
  assert.equal(resolveConfig({ clock: "instructions", start_time: "1999-12-31T23:59:50Z" }).startTime, time);
  rejects({ start_time: "1999-12-31" }, /needs clock=instructions/);
});

test("bytes and backends are images as well as names", () => {
  const bytes = new Uint8Array(512);
  assert.equal(resolveConfig({ fda: bytes }).drives.fda?.source, bytes);
});

test("the help names every key", () => {
  const help = describeConfig().join("\n");
  for (const key of Object.keys(CONFIG_SCHEMA)) assert.match(help, new RegExp(`^  ${key} `, "m"));
});
