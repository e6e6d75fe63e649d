/**
 * Keeps two programs from opening one image for writing. Node has no file locks, so that it is a file beside the image,
 * `.NAME.vmxon-lock`, which says whose it is; the lock of a process that has died is taken over.
 */
import { readFileSync } from "node:fs";
import { link, open, readFile, realpath, rename, unlink } from "node:fs/promises";
import { hostname } from "node:os";
import { basename, dirname, join } from "node:path";
import { VmxonError } from "../../common/errors.ts";

interface Holder {
  readonly pid: number;
  readonly host: string;
  /** When the process began, where the system says so: another process may have the same number later. */
  readonly started: string;
}

/** Field of /proc/PID/stat after the closing bracket: start time in ticks since boot. proc(5), field 22. */
const START_TIME = 19;
/** Attempts while others take over the same lock. */
const ATTEMPTS = 10;

/** Start time of a process, "" where the system does not tell, undefined when there is no such process. */
function startOf(pid: number): string | undefined {
  try {
    process.kill(pid, 0);
  } catch (error) {
    // Somebody else's process is one too.
    if ((error as NodeJS.ErrnoException).code !== "EPERM") return undefined;
  }
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "latin1");
    return stat.slice(stat.lastIndexOf(")") + 2).split(" ")[START_TIME] ?? "";
  } catch {
    return "";
  }
}

function isAlive(holder: Holder): boolean {
  // Of other hosts (or containers) nothing is known.
  if (holder.host !== hostname()) return true;
  const started = startOf(holder.pid);
  return started !== undefined && (started === "" || holder.started === "" || started === holder.started);
}

function parse(text: string): Holder | undefined {
  try {
    const value: unknown = JSON.parse(text);
    const { pid, host, started } = value as Partial<Holder>;
    if (Number.isInteger(pid) && typeof host === "string" && typeof started === "string") return value as Holder;
  } catch {
    // Its writer died before it had written anything.
  }
  return undefined;
}

export class ImageLock {
  readonly #path: string;

  private constructor(path: string) {
    this.#path = path;
  }

  /**
   * Lock an image. Undefined where the folder cannot be written, so that nobody can lock there. Rejects with VmxonError("busy")
   * that says who has it.
   */
  static async take(image: string): Promise<ImageLock | undefined> {
    const real = await realpath(image);
    const path = join(dirname(real), `.${basename(real)}.vmxon-lock`);
    const self: Holder = { pid: process.pid, host: hostname(), started: startOf(process.pid) ?? "" };
    const own = `${path}.${process.pid}.${Math.random().toString(36).slice(2)}`;
    try {
      const file = await open(own, "wx");
      await file.writeFile(JSON.stringify(self));
      await file.close();
    } catch {
      return undefined;
    }
    try {
      for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
        // A link appears with its contents, all at once, and only where there is none.
        if (await succeeds(link(own, path))) return new ImageLock(path);
        const text = await readFile(path, "utf8").catch(() => undefined);
        if (text === undefined) continue;
        const holder = parse(text);
        if (holder && isAlive(holder)) throw busy(image, path, holder);
        await removeStale(path, text, `${own}.old`);
      }
      throw new VmxonError("busy", `${image}: its lock ${path} cannot be taken; is it on a file system without links?`);
    } finally {
      await unlink(own);
    }
  }

  async release(): Promise<void> {
    await unlink(this.#path).catch(() => {});
  }
}

function busy(image: string, path: string, holder: Holder): VmxonError {
  const who =
    holder.pid === process.pid && holder.host === hostname()
      ? "this program has opened it for writing already"
      : `another program has opened it for writing (process ${holder.pid} on ${holder.host})`;
  return new VmxonError(
    "busy",
    `${image}: ${who}. To run it beside that with writes thrown away, add -snapshot; if that program is gone, remove ${path}.`,
  );
}

async function succeeds(work: Promise<void>): Promise<boolean> {
  try {
    await work;
    return true;
  } catch {
    return false;
  }
}

/** Remove a lock whose text is `text`; put it back when it turns out to be somebody else's new one. */
async function removeStale(path: string, text: string, aside: string): Promise<void> {
  if (!(await succeeds(rename(path, aside)))) return;
  const moved = await readFile(aside, "utf8").catch(() => "");
  if (moved !== text) await succeeds(link(aside, path));
  await unlink(aside).catch(() => {});
}
