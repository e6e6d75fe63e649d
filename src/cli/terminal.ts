/** The terminal as the guest's screen and keyboard, or as its serial line. Puts the terminal back as it was, always. */
import { writeSync } from "node:fs";
import type { Domain } from "../toolstack/domain.ts";
import type { SerialTarget } from "../toolstack/host.ts";
import { TerminalKeys } from "./terminal-keys.ts";
import { TERMINAL, TerminalScreen } from "./terminal-screen.ts";

const FRAME_INTERVAL = 33;
/** A lone Escape is told from the beginning of a sequence by what follows within this time, ms. */
const ESCAPE_DELAY = 40;
const LEAVE_BYTE = 0x1d;
const DEFAULT_SIZE = { columns: 80, rows: 24 } as const;

/** Raw input while `work` is needed; returns what ends it. */
function rawInput(onBytes: (bytes: Buffer) => void): () => void {
  const { stdin } = process;
  if (stdin.isTTY) stdin.setRawMode(true);
  stdin.on("data", onBytes);
  stdin.resume();
  const restore = (): void => {
    if (stdin.isTTY) stdin.setRawMode(false);
  };
  process.once("exit", restore);
  return () => {
    restore();
    process.off("exit", restore);
    stdin.off("data", onBytes);
    stdin.pause();
  };
}

/** Shows a domain in the terminal and sends it the terminal's keys, until `close`. */
export function attachTerminal(domain: Domain, onLeave: () => void): { close(): void } {
  const { stdout } = process;
  const screen = new TerminalScreen(`${domain.name} · Ctrl-] leaves`);
  const keys = new TerminalKeys();
  let escapeTimer: NodeJS.Timeout | undefined;
  let drawn: number | undefined;

  const press = (list: ReturnType<TerminalKeys["feed"]>): void => {
    for (const key of list) {
      if (key.kind === "leave") onLeave();
      else if (key.kind === "chord") void domain.keyboard.chord(key.codes);
      else domain.keyboard.character(key.text, key.held);
    }
  };
  const draw = (): void => {
    const generation = domain.screen.generation;
    if (generation === drawn || stdout.writableNeedDrain) return;
    drawn = generation;
    const size = { columns: stdout.columns ?? DEFAULT_SIZE.columns, rows: stdout.rows ?? DEFAULT_SIZE.rows };
    const cells = domain.screen.cells();
    stdout.write(cells ? screen.drawText(cells, size) : screen.drawFrame(domain.screen.frame(), size));
  };
  const resized = (): void => {
    drawn = undefined;
  };
  const restoreScreen = (): void => {
    writeSync(stdout.fd, TERMINAL.leave);
  };

  const decoder = new TextDecoder();
  const stopInput = rawInput((bytes) => {
    clearTimeout(escapeTimer);
    press(keys.feed(decoder.decode(bytes, { stream: true })));
    if (keys.waiting) escapeTimer = setTimeout(() => press(keys.flush()), ESCAPE_DELAY);
  });
  stdout.write(TERMINAL.enter);
  process.once("exit", restoreScreen);
  stdout.on("resize", resized);
  const timer = setInterval(draw, FRAME_INTERVAL);
  draw();
  return {
    close() {
      clearInterval(timer);
      clearTimeout(escapeTimer);
      stdout.off("resize", resized);
      process.off("exit", restoreScreen);
      draw();
      restoreScreen();
      stopInput();
    },
  };
}

/** The terminal, or whatever standard input and output are, as a serial line. Ctrl-] leaves when it is a terminal. */
export function stdioSerial(onLeave: () => void): SerialTarget {
  let pending: number[] = [];
  let stopInput: (() => void) | undefined;
  const drain = (): void => {
    if (pending.length > 0) process.stdout.write(Uint8Array.from(pending));
    pending = [];
  };
  return {
    write(byte) {
      if (pending.push(byte) === 1) queueMicrotask(drain);
    },
    onInput(listener) {
      stopInput = rawInput((bytes) => {
        const leave = process.stdin.isTTY ? bytes.indexOf(LEAVE_BYTE) : -1;
        if (leave < 0) listener(bytes);
        else {
          listener(bytes.subarray(0, leave));
          onLeave();
        }
      });
    },
    async close() {
      drain();
      stopInput?.();
    },
  };
}
