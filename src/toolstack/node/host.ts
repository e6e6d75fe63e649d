/** Node as a host: images are files, serial lines go to files or to this process's standard input and output. */

import { createWriteStream } from "node:fs";
import { stat as lastWritten } from "node:fs/promises";
import { dirname, resolve } from "node:path";
import { setFlagsFromString } from "node:v8";
import { Worker } from "node:worker_threads";
import { VmxonError } from "../../common/errors.ts";
import { type GeneratorThread, RegionGenerator } from "../../processor/compiler/generator.ts";
import type { Host, SerialTarget } from "../host.ts";
import { HttpImage, isHttpAddress } from "../images/http.ts";
import { openFile, reason } from "./image-file.ts";
import { yieldToMainThread } from "./priority.ts";

// Compiled regions say which of their branches are hardly ever taken. V8 listens to that (WebAssembly branch hinting) only
// when it is told to, and then runs them 1.2 to 1.5 times as fast.
setFlagsFromString("--experimental-wasm-branch-hinting");

/** Bytes of serial output that are gathered before they are written to the host. */
const SERIAL_BUFFER = 4096;

/** Gathers bytes and hands them on once per turn of the event loop. */
function batched(send: (bytes: Uint8Array) => void): { write(byte: number): void; drain(): void } {
  const buffer = new Uint8Array(SERIAL_BUFFER);
  let length = 0;
  let scheduled = false;
  const drain = (): void => {
    scheduled = false;
    if (length === 0) return;
    send(buffer.slice(0, length));
    length = 0;
  };
  return {
    write(byte) {
      buffer[length++] = byte;
      if (length === buffer.length) drain();
      else if (!scheduled) {
        scheduled = true;
        queueMicrotask(drain);
      }
    },
    drain,
  };
}

function stdioSerial(): SerialTarget {
  const output = batched((bytes) => process.stdout.write(bytes));
  return {
    write: output.write,
    onInput(listener) {
      process.stdin.on("data", (bytes: Buffer) => listener(bytes));
    },
    async close() {
      output.drain();
      process.stdin.pause();
    },
  };
}

function fileSerial(name: string, append: boolean): Promise<SerialTarget> {
  return new Promise((resolve, reject) => {
    const stream = createWriteStream(name, { flags: append ? "a" : "w" });
    stream.once("error", (cause) =>
      reject(new VmxonError("config", `serial=file:${name}: cannot write to it: ${reason(cause)}`, { cause })),
    );
    stream.once("open", () => {
      const output = batched((bytes) => stream.write(bytes));
      resolve({
        write: output.write,
        close() {
          output.drain();
          return new Promise((closed) => stream.end(() => closed()));
        },
      });
    });
  });
}

let mainThreadFirst = false;

/**
 * The process is there for the guest that runs on its main thread: from now on other threads get what that one leaves
 * them. For commands; whoever embeds a domain knows better what else the process does.
 */
export function preferMainThread(): void {
  mainThreadFirst = true;
  yieldToMainThread();
}

/** A worker thread that lets the process end while it waits. */
function startGenerator(): GeneratorThread {
  // V8 compiles functions when they are first called, on the thread that calls them. Those of modules that come from now on
  // are compiled with the module: on the worker's thread.
  setFlagsFromString("--no-wasm-lazy-compilation");
  const worker = new Worker(new URL("./generator.js", import.meta.url), { execArgv: [] });
  if (mainThreadFirst) worker.once("online", yieldToMainThread);
  return {
    post: (message) => worker.postMessage(message),
    onMessage(listener) {
      worker.on("message", listener);
      // Each new listener holds the process again.
      worker.unref();
    },
    onError(listener) {
      worker.on("error", (error) => listener(error.stack ?? error.message));
      worker.on("messageerror", (error) => listener(error.message));
      worker.on("exit", (code) => listener(`it ended with status ${code}`));
    },
    stop: () => void worker.terminate(),
  };
}

/** Files, standard input and output, and a worker thread. */
export const NODE_HOST: Host = {
  generator: new RegionGenerator(startGenerator),
  async openImage(name, access) {
    return isHttpAddress(name) ? HttpImage.open(name) : openFile(name, access);
  },
  relativeTo: (base, name) => (isHttpAddress(base) ? new URL(name, base).href : resolve(dirname(base), name)),
  async openSerial(target, options = {}) {
    return target === "stdio" ? stdioSerial() : fileSerial(target.slice("file:".length), options.append === true);
  },
  fullName: (name) => (isHttpAddress(name) ? name : resolve(name)),
  async modified(name) {
    const stat = await lastWritten(name, { bigint: true }).catch(() => undefined);
    return stat?.isFile() ? `${stat.mtimeNs}` : undefined;
  },
};
