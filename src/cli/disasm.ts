/** `vmxon disasm`: a file as x86 instructions. */
import { open } from "node:fs/promises";
import { VmxonError } from "../common/errors.ts";
import { disassemble } from "../isa/disassembler.ts";
import { hasBootSignature } from "../toolstack/images.ts";
import { didYouMean } from "../toolstack/suggest.ts";
import { EXIT } from "./exit-status.ts";
import { helpText } from "./help.ts";

const BOOT_SECTOR_SIZE = 512;
const BOOT_SECTOR_ADDRESS = 0x7c00;
const COM_ADDRESS = 0x100;
const LONGEST_INSTRUCTION = 15;
const BYTES_COLUMN = LONGEST_INSTRUCTION * 2;
const LARGEST_FILE = 64 * 0x100000;

interface DisasmOptions {
  file: string;
  bits: 16 | 32 | undefined;
  address: number | undefined;
  offset: number;
  length: number | undefined;
}

const OPTION_NAMES = ["bits", "address", "offset", "length", "help"] as const;

function number(name: string, value: string): number {
  const result = Number(value);
  if (value === "" || !Number.isInteger(result) || result < 0) {
    throw new VmxonError("usage", `--${name}=${value}: write a number, such as --${name}=0x7c00.`);
  }
  return result;
}

function parse(args: readonly string[]): DisasmOptions | "help" {
  const options: DisasmOptions = { file: "", bits: undefined, address: undefined, offset: 0, length: undefined };
  for (let index = 0; index < args.length; index++) {
    const word = args[index]!;
    const match = /^--?([a-z]+)(?:=(.*))?$/.exec(word);
    if (!match) {
      if (options.file !== "") throw new VmxonError("usage", `one file at a time; type: vmxon disasm ${options.file}`);
      options.file = word;
      continue;
    }
    const name = match[1]!;
    if (name === "help" || name === "h") return "help";
    const value = match[2] ?? args[++index] ?? "";
    if (name === "bits") {
      if (value !== "16" && value !== "32")
        throw new VmxonError("usage", `--bits=${value}: write --bits=16 or --bits=32.`);
      options.bits = value === "16" ? 16 : 32;
    } else if (name === "address" || name === "offset" || name === "length") options[name] = number(name, value);
    else
      throw new VmxonError(
        "usage",
        `unknown option ${word}.${didYouMean(name, OPTION_NAMES, "--")} Type: vmxon help disasm`,
      );
  }
  if (options.file === "") throw new VmxonError("usage", "which file? Type: vmxon disasm FILE");
  return options;
}

async function readFile(name: string): Promise<Uint8Array> {
  try {
    const file = await open(name);
    try {
      const { size } = await file.stat();
      const bytes = new Uint8Array(Math.min(size, LARGEST_FILE));
      await file.read(bytes, 0, bytes.length, 0);
      return bytes;
    } finally {
      await file.close();
    }
  } catch (cause) {
    throw new VmxonError("io", `${name}: cannot read it: ${(cause as Error).message}`, { cause });
  }
}

/** What the code's width and address are when they were not said. */
function guess(name: string, bytes: Uint8Array): { bits: 16 | 32; address: number; length: number } {
  if (hasBootSignature(bytes)) return { bits: 16, address: BOOT_SECTOR_ADDRESS, length: BOOT_SECTOR_SIZE };
  if (/\.com$/i.test(name)) return { bits: 16, address: COM_ADDRESS, length: bytes.length };
  return { bits: 32, address: 0, length: bytes.length };
}

/** Lines of a disassembly. */
export function* disassembly(
  bytes: Uint8Array,
  options: { bits: 16 | 32; address: number; offset: number; length: number },
): Generator<string> {
  const end = Math.min(bytes.length, options.offset + options.length);
  for (let at = options.offset; at < end; ) {
    const address = (options.address + at - options.offset) >>> 0;
    const { length, text } = disassemble(bytes, at, { bits: options.bits, address });
    const hex = Array.from(bytes.subarray(at, at + length), (byte) => byte.toString(16).padStart(2, "0")).join("");
    yield `${address.toString(16).padStart(8, "0")}  ${hex.padEnd(BYTES_COLUMN)}  ${text}`;
    at += length;
  }
}

/** Print a file's disassembly; the exit status. */
export async function disasm(args: readonly string[]): Promise<number> {
  const options = parse(args);
  if (options === "help") {
    process.stdout.write(`${helpText("disasm")}\n`);
    return EXIT.ok;
  }
  const bytes = await readFile(options.file);
  const guessed = guess(options.file, bytes);
  const settings = {
    bits: options.bits ?? guessed.bits,
    address: options.address ?? guessed.address + options.offset,
    offset: options.offset,
    length: options.length ?? Math.max(0, guessed.length - options.offset),
  };
  if (settings.offset >= bytes.length && bytes.length > 0) {
    throw new VmxonError("usage", `--offset=${settings.offset}: ${options.file} has only ${bytes.length} bytes.`);
  }
  let chunk = "";
  for (const line of disassembly(bytes, settings)) {
    chunk += `${line}\n`;
    if (chunk.length > 0x10000) {
      await new Promise<void>((resolve) => process.stdout.write(chunk, () => resolve()));
      chunk = "";
    }
  }
  process.stdout.write(chunk);
  return EXIT.ok;
}
