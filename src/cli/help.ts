/** Help texts, made from the tables of options and configuration keys. */
import { describeConfig } from "../toolstack/config.ts";
import { RUN_OPTIONS } from "./options.ts";

const COMMANDS = `vmxon: runs unmodified x86 operating systems

  vmxon run FILE…          boot a floppy, disk or CD image, or a kernel; the kind is guessed
  vmxon list               show running domains
  vmxon save DOMAIN FILE   write a running domain to a file, and end it
  vmxon restore FILE       go on where a saved domain was
  vmxon image VERB …       make, show, convert and check disk images
  vmxon disasm FILE        show a file as x86 instructions
  vmxon help [run|save|restore|list|image|disasm|config]
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

const IMAGE_HELP = `vmxon image create [-f FORMAT] [-b BASE -F FORMAT] [-o SETTINGS] FILE [SIZE]
vmxon image info [-f FORMAT] [--output=json] FILE
vmxon image convert [-f FORMAT] [-O FORMAT] [-b BASE -F FORMAT] [-l SNAPSHOT] [-o SETTINGS] [-c] [-p] OLD NEW
vmxon image check [-f FORMAT] [-r leaks|all] [--output=json] FILE

Makes, shows, converts and checks disk images; options are spelled as qemu-img's.

  -f, -O FORMAT                raw, qcow2, vpc (VHD), vmdk or vdi; without -f a file's format is found by looking. New
                               images are raw or qcow2 (default raw)
  -b BASE, -F FORMAT           the new qcow2 image holds only what differs from BASE, which must not change any more
  -o NAME=VALUE,…              cluster_size, refcount_bits, compat (0.10 or 1.1), lazy_refcounts
  -l SNAPSHOT                  convert what an internal snapshot holds
  -c                           compress
  -p                           show progress
  -r leaks|all                 repair what is wasted, or everything that can be repaired
  SIZE                         10G, 512M or a number of bytes

The exit status of check is 0 when all is well, 2 for errors, 3 for wasted clusters, 63 where there is nothing to check.`;

const SAVE_HELP = `vmxon save [-c|-p] DOMAIN FILE

Writes a running domain to a file: memory, processor, devices, and what a -snapshot run wrote to its images. DOMAIN is a
name or a number that vmxon list shows. What the guest flushed to its images is in these, not in the file: keep them
together, and unchanged.

  -c                           the domain goes on; default: it ends
  -p                           the domain stays, paused

  vmxon save freedos.img dos.sav`;

const RESTORE_HELP = `vmxon restore FILE [options] [key=value…]

Goes on where a saved domain was, with its configuration and its images, which must not have changed. Options and keys are
those of vmxon run; those that change what the guest finds are refused.

  --force                      go on although an image was changed, or is another one

  vmxon restore dos.sav`;

const LIST_HELP = `vmxon list

Shows the running domains of this user: name, number, memory in MiB, processors, state (r running, p paused) and the seconds
that each has computed.`;

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
    case "image":
      return IMAGE_HELP;
    case "save":
      return SAVE_HELP;
    case "restore":
      return RESTORE_HELP;
    case "list":
      return LIST_HELP;
    case "disasm":
      return DISASM_HELP;
    case "config":
      return configHelp();
    default:
      return undefined;
  }
}

export const HELP_TOPICS = ["run", "save", "restore", "list", "image", "disasm", "config"] as const;
