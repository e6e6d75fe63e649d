/** The options of `vmxon run` as one table: spelling, value, effect and help. QEMU's spellings with one dash or two. */
import { VmxonError } from "../common/errors.ts";
import { CPU_MODEL_NAMES, DEFAULT_CPU_MODEL } from "../hypervisor/cpuid.ts";
import { applyConfigWord, type DomainConfig, isConfigWord } from "../toolstack/config.ts";
import { parseChord } from "../toolstack/keys.ts";
import { didYouMean } from "../toolstack/suggest.ts";

/** What a script does, in the order in which it was written on the command line. */
export type Step =
  | { readonly kind: "expect"; readonly pattern: RegExp }
  | { readonly kind: "type"; readonly text: string }
  | { readonly kind: "press"; readonly chord: string }
  | { readonly kind: "wait"; readonly ms: number }
  | { readonly kind: "screenshot"; readonly file: string };

export interface RunOptions {
  /** Files whose kind is to be guessed. */
  readonly files: string[];
  readonly config: DomainConfig;
  readonly steps: Step[];
  /** ms that each --expect waits. */
  timeout: number;
  screen: "text" | "none" | undefined;
  nographic: boolean;
  traceExits: boolean;
  help: boolean;
}

interface Option {
  readonly names: readonly string[];
  /** What stands for the value in the help; options without it take none. */
  readonly value?: string;
  readonly help: string;
  apply(options: RunOptions, value: string): void;
}

const DEFAULT_TIMEOUT = 60_000;

function usage(message: string): never {
  throw new VmxonError("usage", message);
}

function choice<const C extends string>(option: string, value: string, choices: readonly C[]): C {
  const found = choices.find((item) => item === value);
  return found ?? usage(`${option}=${value}: write ${choices.map((item) => `${option}=${item}`).join(" or ")}.`);
}

function milliseconds(option: string, value: string): number {
  const seconds = Number(value);
  if (!(seconds > 0)) usage(`${option}=${value}: write a number of seconds, such as ${option}=30.`);
  return seconds * 1000;
}

const ESCAPES: Readonly<Record<string, string>> = { n: "\n", r: "\n", t: "\t", e: "\x1b", b: "\b", "\\": "\\" };

/** `dir\n` as it is written in a shell's quotes. */
function withEscapes(text: string): string {
  return text.replace(/\\([nrteb\\])/g, (_, letter: string) => ESCAPES[letter]!);
}

function pattern(text: string): RegExp {
  try {
    return new RegExp(text, "m");
  } catch (cause) {
    throw new VmxonError(
      "usage",
      `--expect: ${(cause as Error).message}. To expect the characters themselves, write \\ before ( [ * + ? . $`,
      { cause },
    );
  }
}

const image = (key: "cdrom" | "fda" | "fdb" | "hda" | "hdb" | "hdc" | "hdd" | "kernel", help: string): Option => ({
  names: [`-${key}`],
  value: "FILE",
  help,
  apply: ({ config }, value) => {
    config[key] = value;
  },
});

export const RUN_OPTIONS: readonly Option[] = [
  {
    names: ["-m"],
    value: "SIZE",
    help: "memory in MiB, or with a unit: 64, 64M, 1G (default 128)",
    apply: ({ config }, value) => {
      // QEMU also writes it as size=64.
      config.memory = value.replace(/^size=/, "");
    },
  },
  {
    names: ["-cpu", "--cpuid"],
    value: "MODEL",
    help: `processor model: ${CPU_MODEL_NAMES.join(", ")} (default ${DEFAULT_CPU_MODEL})`,
    apply: ({ config }, value) => applyConfigWord(config, `cpuid=${value}`),
  },
  image("fda", "floppy in drive A:"),
  image("fdb", "floppy in drive B:"),
  image("hda", "first disk"),
  image("hdb", "second disk"),
  image("hdc", "third disk (second IDE channel)"),
  image("hdd", "fourth disk"),
  image("cdrom", "CD or DVD in a drive on the second IDE channel (hdc)"),
  {
    names: ["-boot"],
    value: "ORDER",
    help: "boot devices in order: a floppy, c disk, d CD (default ac, with a CD drive acd)",
    apply: ({ config }, value) => {
      config.boot = value.replace(/^order=/, "");
    },
  },
  image("kernel", "Linux bzImage or multiboot kernel to boot directly"),
  {
    names: ["-initrd"],
    value: "FILE",
    help: "its initial ramdisk; multiboot modules, separated by commas",
    apply: ({ config }, value) => applyConfigWord(config, `ramdisk=${value}`),
  },
  {
    names: ["-append"],
    value: "TEXT",
    help: "its command line",
    apply: ({ config }, value) => {
      config.cmdline = value;
    },
  },
  {
    names: ["-snapshot"],
    help: "keep writes to images in memory and throw them away at the end",
    apply: ({ config }) => {
      config.snapshot = true;
    },
  },
  {
    names: ["-serial"],
    value: "TARGET",
    help: "where COM1 (given twice: COM2) leads: stdio, file:NAME or none",
    apply: ({ config }, value) => applyConfigWord(config, `serial=${value}`),
  },
  {
    names: ["-nographic"],
    help: "no screen; the terminal is the guest's serial line",
    apply: (options) => {
      options.nographic = true;
    },
  },
  {
    names: ["-name"],
    value: "NAME",
    help: "name of the domain",
    apply: ({ config }, value) => {
      config.name = value;
    },
  },
  {
    names: ["--bios", "-bios"],
    value: "FILE",
    help: "system BIOS instead of the built-in one: a file, seabios or bochs",
    apply: ({ config }, value) => {
      config.bios = value;
    },
  },
  {
    names: ["--vgabios"],
    value: "FILE",
    help: "display BIOS instead of the built-in one: a file, seabios or lgpl",
    apply: ({ config }, value) => {
      config.vgabios = value;
    },
  },
  {
    names: ["-k"],
    value: "LAYOUT",
    help: "layout of the keyboard that the guest is set to, for --type: en-us, de, fr … (vmxon help config)",
    apply: ({ config }, value) => applyConfigWord(config, `keymap=${value}`),
  },
  {
    names: ["--clock"],
    value: "real|instructions",
    help: "guest time follows the host, or counts instructions: every run the same",
    apply: ({ config }, value) => {
      config.clock = choice("--clock", value, ["real", "instructions"]);
    },
  },
  {
    names: ["--screen"],
    value: "text|none",
    help: "draw the screen in the terminal; where that is none, print it at the end",
    apply: (options, value) => {
      options.screen = choice("--screen", value, ["text", "none"]);
    },
  },
  {
    names: ["--expect"],
    value: "REGEX",
    help: "wait until the screen or the serial output matches",
    apply: ({ steps }, value) => steps.push({ kind: "expect", pattern: pattern(value) }),
  },
  {
    names: ["--type"],
    value: "TEXT",
    help: "type it; \\n is Enter. With -nographic it goes to the serial line",
    apply: ({ steps }, value) => steps.push({ kind: "type", text: withEscapes(value) }),
  },
  {
    names: ["--press"],
    value: "KEYS",
    help: "press keys together: ctrl-alt-del, f1",
    apply: ({ steps }, value) => {
      // Names are checked now, not when the step is reached.
      parseChord(value);
      steps.push({ kind: "press", chord: value });
    },
  },
  {
    names: ["--wait"],
    value: "SECONDS",
    help: "let so much guest time pass",
    apply: ({ steps }, value) => steps.push({ kind: "wait", ms: milliseconds("--wait", value) }),
  },
  {
    names: ["--screenshot"],
    value: "FILE",
    help: "write the picture to a PNG file: in order of appearance, without a script at the end",
    apply: ({ steps }, value) => steps.push({ kind: "screenshot", file: value }),
  },
  {
    names: ["--timeout"],
    value: "SECONDS",
    help: "how long each --expect waits (default 60); guest time with --clock=instructions",
    apply: (options, value) => {
      options.timeout = milliseconds("--timeout", value);
    },
  },
  {
    names: ["--check"],
    value: "lockstep",
    help: "run an interpreter beside the compiled code, and stop at the first difference",
    apply: ({ config }, value) => {
      config.check = choice("--check", value, ["lockstep"]);
    },
  },
  {
    names: ["--profile"],
    help: "at the end, print where time went, and the hottest code as it was compiled",
    apply: ({ config }) => {
      config.profile = true;
    },
  },
  {
    names: ["--trace"],
    value: "exits",
    help: "at the end, print how often the guest left the processor and why",
    apply: (options, value) => {
      choice("--trace", value, ["exits"]);
      options.traceExits = true;
    },
  },
  {
    names: ["--help", "-h"],
    help: "this text",
    apply: (options) => {
      options.help = true;
    },
  },
];

/** Options of QEMU that people will try, with what to say about them. */
const ABSENT: Readonly<Record<string, string>> = {
  drive: "write -hda FILE or -fda FILE instead",
  smp: "domains have one processor so far",
  net: "network adapters are not supported yet",
  netdev: "network adapters are not supported yet",
  nic: "network adapters are not supported yet",
  device: "devices cannot be added yet; README.md lists what the machine has",
  vnc: "the screen is drawn in the terminal only so far",
  display: "the screen is drawn in the terminal; --screen=none leaves it out",
  s: "there is no GDB server yet",
  S: "there is no GDB server yet",
  "enable-kvm": "vmxon has a processor of its own and needs no KVM",
  accel: "vmxon has a processor of its own",
  M: "there is one machine so far",
  machine: "there is one machine so far",
};

const bare = (name: string): string => name.replace(/^--?/, "");

function findOption(name: string): Option {
  const option = RUN_OPTIONS.find((candidate) => candidate.names.some((known) => bare(known) === bare(name)));
  if (option) return option;
  const absent = ABSENT[bare(name)];
  if (absent) usage(`${name}: ${absent}.`);
  const names = RUN_OPTIONS.flatMap((candidate) => candidate.names);
  const hint = didYouMean(bare(name), names.map(bare), name.startsWith("--") ? "--" : "-");
  return usage(`unknown option ${name}.${hint} All options: vmxon run --help`);
}

/**
 * Parse what follows `vmxon run`. `exists` tells whether a file of that name is there, so that a file whose name holds
 * an equals sign is not taken for a configuration word. Throws VmxonError("usage" | "config") with what to type.
 */
export function parseRunOptions(args: readonly string[], exists: (name: string) => boolean): RunOptions {
  const options: RunOptions = {
    files: [],
    config: {},
    steps: [],
    timeout: DEFAULT_TIMEOUT,
    screen: undefined,
    nographic: false,
    traceExits: false,
    help: false,
  };
  for (let index = 0; index < args.length; index++) {
    const word = args[index]!;
    if (word === "--") {
      options.files.push(...args.slice(index + 1));
      break;
    }
    if (!word.startsWith("-") || word === "-") {
      if (isConfigWord(word) && !exists(word)) applyConfigWord(options.config, word);
      else options.files.push(word);
      continue;
    }
    const equals = word.indexOf("=");
    const name = equals < 0 ? word : word.slice(0, equals);
    const option = findOption(name);
    if (option.value === undefined) {
      if (equals >= 0) usage(`${name} takes no value; write only ${name}.`);
      option.apply(options, "");
      continue;
    }
    const value = equals < 0 ? args[++index] : word.slice(equals + 1);
    if (value === undefined) usage(`${name} needs a value: ${name} ${option.value}.`);
    option.apply(options, value);
  }
  return options;
}
