/** Disk reads of a Linux guest past its page cache: in sequence with dd, and 4 KiB at random by a program of our own. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { assemble } from "../src/firmware/assembler.ts";
import { Domain } from "../src/index.ts";
import { writeElf } from "../tests/oracle/elf.ts";
import { COMMAND_LINE, debianGuest, READY } from "../tests/support/debian-guest.ts";

const MIB = 1 << 20;
const DISK = 512 * MIB;
const READS = 20_000;
const TIMEOUT = { timeout: 300_000 };
const CODE = 0x0804_8000;
const BUFFER = 0x0805_0000;
const READ_SIZE = 4096;

/** Linux for i386: numbers of system calls, and flags of open. */
const CALL = { exit: 1, read: 3, open: 5, pread64: 180 } as const;
const O_DIRECT = 0x4000;

/** Reads 4 KiB at READS places of /dev/sda that a linear congruential generator chooses; its status tells of errors. */
function randomReader(): Uint8Array {
  const { code } = assemble(
    `mov eax, ${CALL.open}
     mov ebx, name
     mov ecx, ${O_DIRECT}
     xor edx, edx
     int 0x80
     test eax, eax
     js failed
     mov ebx, eax
     mov ebp, ${READS}
     mov edi, 12345
next:
     imul edi, edi, 1664525
     add edi, 1013904223
     mov esi, edi
     shr esi, 8
     and esi, ${DISK / READ_SIZE - 1}
     shl esi, 12
     push edi
     xor edi, edi
     mov eax, ${CALL.pread64}
     mov ecx, ${BUFFER}
     mov edx, ${READ_SIZE}
     int 0x80
     pop edi
     cmp eax, ${READ_SIZE}
     jne failed
     dec ebp
     jnz next
     xor ebx, ebx
     jmp leave
failed:
     mov ebx, 1
leave:
     mov eax, ${CALL.exit}
     int 0x80
name: db "/dev/sda", 0`,
    { origin: CODE, bits: 32 },
  );
  return writeElf(
    [
      { address: CODE, size: code.length, content: code, execute: true },
      { address: BUFFER, size: READ_SIZE, content: new Uint8Array(0), execute: false },
    ],
    CODE,
  );
}

/** Figures by the host's clock. Rejects where Debian's kernel and drivers have not been fetched. */
export async function runDiskBench(report: (name: string, figure: number) => void): Promise<void> {
  const guest = debianGuest({ "random-reads": randomReader() });
  if (guest === undefined) throw new Error("Debian's kernel with its drivers is not there: npm start fetches it");
  const folder = mkdtempSync(join(tmpdir(), "vmxon-bench-"));
  const image = join(folder, "disk.img");
  const pattern = Uint8Array.from({ length: DISK }, (_, i) => (i * 2_654_435_761) >>> 24);
  writeFileSync(image, pattern);
  try {
    const { kernel, ramdisk } = guest;
    await using domain = await Domain.create({ kernel, ramdisk, cmdline: COMMAND_LINE, memory: 256, hda: image });
    domain.start();
    const line = domain.serial[0]!;
    await line.waitFor(new RegExp(READY), TIMEOUT);
    const measure = async (command: string): Promise<number> => {
      // The shell throws away what comes before it asks.
      await line.waitFor(/# $/, TIMEOUT);
      const start = performance.now();
      line.write(`${command}; echo status $?\n`);
      const [, status] = await line.waitFor(/^status (\d+)/m, TIMEOUT);
      if (status !== "0") throw new Error(`${command} failed in the guest`);
      return (performance.now() - start) / 1000;
    };
    // The first time code is compiled and the host's cache is filled.
    for (let round = 0; round < 2; round++) await measure("dd if=/dev/sda of=/dev/null bs=1M iflag=direct");
    report("sequential", DISK / MIB / (await measure("dd if=/dev/sda of=/dev/null bs=1M iflag=direct")));
    await measure("random-reads");
    report("random", READS / (await measure("random-reads")));
  } finally {
    rmSync(folder, { recursive: true });
  }
}
