/** Debian's qemu-img and qemu-io (qemu-utils) as a second opinion on images; tests that need them skip where they are missing. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";

export const NO_QEMU =
  spawnSync("qemu-img", ["--version"]).status === 0 && spawnSync("qemu-io", ["--version"]).status === 0
    ? false
    : "qemu-img and qemu-io are not installed (Debian: qemu-utils)";

/** Run qemu-img; what it printed. Fails the test unless it ends with status 0. */
export function qemuImg(...args: string[]): string {
  const { status, stdout, stderr } = spawnSync("qemu-img", args, { encoding: "utf8" });
  assert.equal(status, 0, `qemu-img ${args.join(" ")}: ${stdout}${stderr}`);
  return stdout;
}

/** Run commands of qemu-io on an image. */
export function qemuIo(image: string, format: string, commands: readonly string[]): void {
  const words = commands.flatMap((command) => ["-c", command]);
  const { status, stdout, stderr } = spawnSync("qemu-io", ["-f", format, ...words, image], { encoding: "utf8" });
  assert.equal(status, 0, `qemu-io: ${stdout}${stderr}`);
  assert.doesNotMatch(stdout + stderr, /failed|error/i);
}
