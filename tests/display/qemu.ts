/** QEMU as an oracle: the same diskette, its serial line and its pictures. */
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { connect, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { type Pixels, readPpm } from "../support/png.ts";

const PROGRAM = "qemu-system-i386";
/** ms that anything may take. */
const PATIENCE = 60_000;

/** Whether there is a QEMU. */
export function hasQemu(): boolean {
  return spawnSync(PROGRAM, ["--version"]).status === 0;
}

async function connected(path: string): Promise<Socket> {
  const end = Date.now() + PATIENCE;
  for (;;) {
    if (existsSync(path)) {
      const socket = connect(path);
      const failed = await new Promise<boolean>((resolve) => {
        socket.once("connect", () => resolve(false));
        socket.once("error", () => resolve(true));
      });
      if (!failed) return socket;
    }
    if (Date.now() > end) throw new Error(`QEMU does not open ${path}`);
    await sleep(20);
  }
}

/** Text that arrives on a socket. */
class Incoming {
  #text = "";
  constructor(socket: Socket) {
    socket.on("data", (bytes: Buffer) => {
      this.#text += bytes.toString("latin1");
    });
  }
  /** Take what comes up to and with `end`. */
  async upTo(end: string): Promise<string> {
    const last = Date.now() + PATIENCE;
    for (;;) {
      const at = this.#text.indexOf(end);
      if (at >= 0) {
        const taken = this.#text.slice(0, at + end.length);
        this.#text = this.#text.slice(at + end.length);
        return taken;
      }
      if (Date.now() > last) throw new Error(`QEMU does not send ${JSON.stringify(end)} but ${this.#text}`);
      await sleep(5);
    }
  }
}

/** A PC in QEMU, with a standard VGA. */
export class Qemu {
  readonly #folder: string;
  readonly #process: ChildProcess;
  readonly #serial: Socket;
  readonly #monitor: Socket;
  readonly #fromSerial: Incoming;
  readonly #fromMonitor: Incoming;

  private constructor(folder: string, child: ChildProcess, serial: Socket, monitor: Socket) {
    this.#folder = folder;
    this.#process = child;
    this.#serial = serial;
    this.#monitor = monitor;
    this.#fromSerial = new Incoming(serial);
    this.#fromMonitor = new Incoming(monitor);
  }

  /** Boot a diskette. */
  static async start(diskette: Uint8Array): Promise<Qemu> {
    const folder = mkdtempSync(join(tmpdir(), "vmxon-qemu-"));
    const image = join(folder, "boot.img");
    writeFileSync(image, diskette);
    const socket = (name: string): string => `unix:${join(folder, name)},server=on,wait=off`;
    const child = spawn(
      PROGRAM,
      [
        ...["-display", "none", "-vga", "std", "-m", "32", "-nic", "none", "-no-reboot"],
        ...["-drive", `file=${image},if=floppy,format=raw`, "-boot", "a"],
        ...["-serial", socket("serial"), "-monitor", socket("monitor")],
      ],
      { stdio: "ignore" },
    );
    const serial = await connected(join(folder, "serial"));
    const monitor = await connected(join(folder, "monitor"));
    const qemu = new Qemu(folder, child, serial, monitor);
    await qemu.#fromMonitor.upTo("(qemu) ");
    return qemu;
  }

  /** The next line that the guest sends. */
  line(): Promise<string> {
    return this.#fromSerial.upTo("\n");
  }

  /** Send text to the guest. */
  send(text: string): void {
    this.#serial.write(text, "latin1");
  }

  /** The picture as it is shown, once it shows twice: a change of mode takes QEMU a moment. */
  async picture(): Promise<Pixels> {
    for (let last = await this.#dump(); ; ) {
      await sleep(30);
      const next = await this.#dump();
      if (next.equals(last)) return readPpm(next);
      last = next;
    }
  }

  async #dump(): Promise<Buffer> {
    const file = join(this.#folder, "screen.ppm");
    this.#monitor.write(`screendump ${file}\n`);
    await this.#fromMonitor.upTo("(qemu) ");
    return readFileSync(file);
  }

  close(): void {
    this.#serial.destroy();
    this.#monitor.destroy();
    this.#process.kill();
    rmSync(this.#folder, { recursive: true, force: true });
  }
}
