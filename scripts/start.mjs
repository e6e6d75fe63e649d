// `npm start`: sets up what is missing and boots a system in this terminal. `npm start -- FILE` boots that file;
// without one it is Debian's own i386 kernel with busybox. Other options go to `vmxon run`.
import { spawn } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { constants } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { prepareDebian } from "./debian.mjs";
import { ROOT, runScript, say, setup } from "./setup.mjs";

/** Words that say what to boot, so that Debian is not wanted. */
const BOOTS_SOMETHING = /^--?(?:fd[ab]|hd[a-d]|kernel|help|h)(?:=|$)|^(?:fd[ab]|hd[a-d]|disk|kernel)\+?=/;
const MEMORY = "128";
const SHELL_PROMPT = "# $";
const BOOT_TIMEOUT = "600";

const INIT = `#!/bin/busybox sh
/bin/busybox mkdir -p /proc /sys /dev /tmp /root
/bin/busybox mount -t proc proc /proc
/bin/busybox mount -t sysfs sysfs /sys
/bin/busybox mount -t devtmpfs devtmpfs /dev
/bin/busybox --install -s /bin
# Messages of the kernel would be written into what is typed.
dmesg -n 1
export PATH=/bin HOME=/root TERM=linux
cd /root
echo
echo "$(uname -sr) on $(uname -m), unmodified, from Debian. Type: ls /bin, cat /proc/cpuinfo, exit"
setsid cttyhack sh
poweroff -f
`;

/** An initial ramdisk with busybox and a script that ends in a shell; its path. */
async function makeRamdisk({ busybox, folder }) {
  const { writeCpio } = await import(pathToFileURL(join(ROOT, "dist", "src", "toolstack", "cpio.js")).href);
  const directory = (path) => ({ path, type: "directory", mode: 0o755 });
  const archive = writeCpio([
    ...["bin", "dev", "proc", "root", "sys", "tmp"].map(directory),
    { path: "dev/console", type: "character-device", mode: 0o600, major: 5, minor: 1 },
    { path: "bin/busybox", type: "file", mode: 0o755, data: readFileSync(busybox) },
    { path: "bin/sh", type: "symlink", target: "busybox" },
    { path: "init", type: "file", mode: 0o755, data: Buffer.from(INIT) },
  ]);
  const path = join(folder, "initrd.cpio");
  writeFileSync(path, archive);
  return path;
}

async function debianArguments(options) {
  const debian = prepareDebian();
  const ramdisk = await makeRamdisk(debian);
  say(`booting ${debian.name}, Debian's unmodified kernel; Ctrl-] leaves`);
  const boot = ["-kernel", debian.kernel, "-initrd", ramdisk, "-append", "console=tty0", "-name", debian.name];
  return [...boot, "-m", MEMORY, ...options];
}

/** Without a terminal nobody can watch: reach the shell, print the screen and leave. */
function forPipes(options) {
  const given = (name) => options.some((word) => word === name || word.startsWith(`${name}=`));
  const added = [];
  if (!given("--screen")) added.push("--screen=text");
  if (!given("--expect")) added.push("--expect", SHELL_PROMPT);
  if (!given("--timeout")) added.push(`--timeout=${BOOT_TIMEOUT}`);
  return [...options, ...added];
}

/** True when the words name an image: one that is no option and no option's value. */
function namesImage(words) {
  return words[0]?.startsWith("-") === false || words.some((word) => BOOTS_SOMETHING.test(word));
}

await runScript(async () => {
  const words = process.argv.slice(2);
  setup();
  const interactive = process.stdin.isTTY && process.stdout.isTTY;
  let args = words;
  if (!namesImage(words)) {
    const graphic = !words.some((word) => /^--?nographic$/.test(word));
    args = await debianArguments(interactive || !graphic ? words : forPipes(words));
  }
  const child = spawn(process.execPath, [join(ROOT, "bin", "vmxon"), "run", ...args], { stdio: "inherit" });
  // The child has the terminal; it ends by itself on a signal, and its status is ours.
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"]) process.on(signal, () => child.kill(signal));
  process.exitCode = await new Promise((resolve) => {
    child.on("exit", (status, signal) => resolve(status ?? 128 + constants.signals[signal]));
  });
});
