/** The command line of `vmxon run`. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { helpText } from "../../src/cli/help.ts";
import { parseRunOptions, RUN_OPTIONS } from "../../src/cli/options.ts";
import { VmxonError } from "../../src/common/errors.ts";

const parse = (...args: string[]) => parseRunOptions(args, (name) => name === "odd=name.img");

function refused(args: string[], message: RegExp): void {
  assert.throws(
    () => parse(...args),
    (error) => error instanceof VmxonError && message.test(error.message),
    args.join(" "),
  );
}

test("QEMU's spellings are understood, with one dash or two, with a space or an equals sign", () => {
  for (const args of [
    ["-m", "64", "-hda", "d.img", "-snapshot"],
    ["--m", "64", "--hda=d.img", "--snapshot"],
    ["-m=64", "-hda=d.img", "-snapshot"],
  ]) {
    assert.deepEqual(parse(...args).config, { memory: "64", hda: "d.img", snapshot: true }, args.join(" "));
  }
});

test("a kernel with ramdisk and command line", () => {
  const { config, nographic } = parse(
    "-kernel",
    "bzImage",
    "-initrd",
    "rd.gz",
    "-append",
    "console=ttyS0",
    "-nographic",
  );
  assert.deepEqual(config, { kernel: "bzImage", ramdisk: ["rd.gz"], cmdline: "console=ttyS0" });
  assert.equal(nographic, true);
  assert.deepEqual(parse("-initrd", "a,b").config.ramdisk, ["a", "b"]);
});

test("serial lines are a list, boot order may be QEMU's", () => {
  assert.deepEqual(parse("-serial", "stdio", "-serial", "file:log").config.serial, ["stdio", "file:log"]);
  assert.equal(parse("-boot", "order=ca").config.boot, "ca");
});

test("words with an equals sign are configuration unless a file has that name", () => {
  const options = parse("a.img", "memory=64", "odd=name.img", "--", "-b.img");
  assert.deepEqual(options.files, ["a.img", "odd=name.img", "-b.img"]);
  assert.deepEqual(options.config, { memory: "64" });
});

test("a script's steps keep their order", () => {
  const { steps, timeout } = parse(
    "--expect",
    "A:.>",
    "--type",
    "dir\\n",
    "--press=ctrl-c",
    "--expect=x",
    "--timeout=5",
  );
  assert.deepEqual(steps, [
    { kind: "expect", pattern: /A:.>/m },
    { kind: "type", text: "dir\n" },
    { kind: "press", chord: "ctrl-c" },
    { kind: "expect", pattern: /x/m },
  ]);
  assert.equal(timeout, 5000);
});

test("-cpu is QEMU's word for cpuid", () => {
  assert.equal(parse("-cpu", "pentium3").config.cpuid, "pentium3");
  assert.equal(parse("--cpuid=486").config.cpuid, "486");
  assert.equal(parse("cpuid=core2").config.cpuid, "core2");
});

test("backslashes in typed text are as in C", () => {
  assert.deepEqual(parse("--type", "a\\tb\\\\n\\e").steps, [{ kind: "type", text: "a\tb\\n\x1b" }]);
});

test("mistakes are answered with what to type", () => {
  refused(["--expct", "x"], /unknown option --expct\. Did you mean "--expect"\?/);
  refused(["-snapshoot"], /Did you mean "-snapshot"\?/);
  refused(["-m"], /-m needs a value: -m SIZE/);
  refused(["-snapshot=1"], /-snapshot takes no value; write only -snapshot/);
  refused(["--clock=fast"], /write --clock=real or --clock=instructions/);
  refused(["--trace=all"], /--trace=exits/);
  refused(["--timeout=soon"], /such as --timeout=30/);
  refused(["--expect", "A("], /--expect:.*\\ before/);
  refused(["--press", "ctrl-foo"], /unknown key "foo"/);
  refused(["-smp", "2"], /one processor/);
  refused(["memroy=64"], /Did you mean "memory"\?/);
});

test("the help shows every option", () => {
  const help = helpText("run")!;
  for (const option of RUN_OPTIONS) {
    for (const name of option.names) assert.ok(help.includes(name), name);
  }
  assert.equal(helpText("nonsense"), undefined);
});
