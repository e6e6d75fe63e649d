/** Help texts, made from the tables of options and configuration keys. */
import { describeConfig } from "../toolstack/config.ts";
import { RUN_OPTIONS } from "./options.ts";

const COMMANDS = `vmxon: runs unmodified x86 operating systems

  vmxon run FILE…          boot a floppy, disk or CD image, or a kernel; the kind is guessed
  vmxon disasm FILE        show a file as x86 instructions
  vmxon help [run|disasm|config]
  vmxon --version

Try:  vmxon run freedos.img
      vmxon run disk.img -m 64 -snapshot
      vmxon run -kernel bzImage -initrd initrd.gz -append "console=ttyS0" -nographic`;

const OPTION_COLUMN = 30;

function optionLines(): string[] {
  return RUN_OPTIONS.map((option) => {
    const long = option.names.filter((name) => name.startsWith("--"));
    const separator = long.length > 0 ? "=" : " ";
    const names = option.names.join(", ");
    const spelling = option.value === undefined ? names : `${names}${separator}${option.value}`;
    return `  ${spelling.padEnd(OPTION_COLUMN - 2)} ${option.help}`;
  });
}

function runHelp(): string {
  return [
    "vmxon run FILE… [options] [key=value…]",
    "",
    "Boots what the files are: floppy images go to drives A: and B:, disk images to the IDE disks, a kernel is started",
    "directly and a file next to it is its ramdisk. Ctrl-] leaves.",
    "",
    ...optionLines(),
    "",
    "  key=value                    sets a key of the domain's configuration: vmxon help config",
    "",
    "--expect, --type and --press are done in the order in which they stand; then the domain is stopped. The exit",
    "status is 0 when everything expected came, 1 when not, 2 when the command line was wrong.",
    "",
    "  vmxon run freedos.img --expect 'A:.>' --type 'ver\\n' --expect 'FreeDOS'",
  ].join("\n");
}

const DISASM_HELP = `vmxon disasm FILE [options]

Shows a file as x86 instructions. A boot sector is read as 16-bit code at 7C00h and a .COM file as 16-bit code at 100h;
anything else as 32-bit code at 0.

  --bits=16|32                 width of the code
  --address=N                  address of the first byte (0x… or decimal)
  --offset=N                   byte of the file to begin at
  --length=N                   number of bytes to show`;

function configHelp(): string {
  return [
    "Keys of a domain's configuration, for `vmxon run … key=value` and for Domain.create({ key: value }):",
    "",
    ...describeConfig(),
  ].join("\n");
}

/** Help on a topic, or undefined when there is none of that name. */
export function helpText(topic: string | undefined): string | undefined {
  switch (topic) {
    case undefined:
      return COMMANDS;
    case "run":
      return runHelp();
    case "disasm":
      return DISASM_HELP;
    case "config":
      return configHelp();
    default:
      return undefined;
  }
}

export const HELP_TOPICS = ["run", "disasm", "config"] as const;
