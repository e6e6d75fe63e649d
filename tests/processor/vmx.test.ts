/** The processor's VMX face: what exits, what the exit reports, what entries inject and refuse. SDM 3C 24–29. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { SEG } from "../../src/isa/state.ts";
import { ENTRY_FAILURE, EXIT, INTERRUPTION, PIN, PROC, PROC2 } from "../../src/processor/exits.ts";
import { SOURCE } from "../../src/processor/interrupts.ts";
import { CR0, CR4 } from "../../src/processor/registers.ts";
import { AT, GATE, Guest, SELECTOR } from "./guest.ts";

const DEFAULTS = PROC.hlt | PROC.unconditionalIo | PROC.secondary;

/** Run `text` in ring 0 under extra controls; the guest, and the exit's reason, qualification, length and EIP. */
function exit(
  text: string,
  setUp: (guest: Guest) => void = () => {},
): { guest: Guest; reason: number; qualification: number; length: number; eip: number } {
  const guest = new Guest();
  guest.cpu.set("procControls", DEFAULTS);
  guest.load(AT.code, text);
  setUp(guest);
  guest.cpu.set("preemptionTimer", 1000);
  const reason = guest.machine.processor.run();
  guest.cpu.set("procControls", DEFAULTS);
  return {
    guest,
    reason,
    qualification: guest.cpu.get("exitQualification") >>> 0,
    length: guest.cpu.get("exitInstructionLength"),
    eip: guest.get("eip") - AT.code,
  };
}

const control = (bits: number) => (guest: Guest) => guest.cpu.set("procControls", DEFAULTS | bits);

test("instructions that always exit do so with EIP on themselves and their length", () => {
  for (const [text, reason, length] of [
    ["cpuid", EXIT.cpuid, 2],
    ["invd", EXIT.invd, 2],
    ["db 0x0f, 0x01, 0xc1", EXIT.vmcall, 3],
    ["rdmsr", EXIT.rdmsr, 2],
    ["wrmsr", EXIT.wrmsr, 2],
    ["hlt", EXIT.hlt, 1],
  ] as const) {
    const found = exit(`nop\n${text}`);
    assert.deepEqual([found.reason, found.eip, found.length], [reason, 1, length], text);
  }
});

test("instructions that exit by request run without it", () => {
  for (const [text, bits, reason] of [
    ["rdtsc", PROC.rdtsc, EXIT.rdtsc],
    ["invlpg [0x123456]", PROC.invlpg, EXIT.invlpg],
    ["mov eax, cr3", PROC.cr3Store, EXIT.crAccess],
    ["mov cr3, eax", PROC.cr3Load, EXIT.crAccess],
    ["mov eax, dr7", PROC.movDr, EXIT.drAccess],
  ] as const) {
    assert.equal(exit(`${text}\nhlt`).reason, EXIT.hlt, text);
    assert.equal(exit(`${text}\nhlt`, control(bits)).reason, reason, text);
  }
  assert.equal(exit("wbinvd\nhlt").reason, EXIT.hlt);
  const wbinvd = exit("wbinvd\nhlt", (guest) => guest.cpu.set("procControls2", PROC2.wbinvd | PROC2.unrestrictedGuest));
  wbinvd.guest.cpu.set("procControls2", PROC2.unrestrictedGuest);
  assert.equal(wbinvd.reason, EXIT.wbinvd);
});

test("INVLPG reports its linear address", () => {
  assert.equal(exit("invlpg [0x123456]", control(PROC.invlpg)).qualification, 0x123456);
});

test("control-register exits name register, direction and general register", () => {
  assert.equal(exit("mov ebx, cr3", control(PROC.cr3Store)).qualification, 3 | (1 << 4) | (3 << 8));
  assert.equal(exit("mov cr3, esi", control(PROC.cr3Load)).qualification, 3 | (6 << 8));
  const owned = (guest: Guest): void => {
    guest.cpu.set("cr0Mask", CR0.WP | CR0.TS);
    guest.cpu.set("cr0Shadow", CR0.TS);
  };
  assert.equal(exit("mov eax, cr0\nor eax, 0x10000\nmov cr0, eax", owned).qualification, 0);
  assert.equal(exit("clts", owned).qualification, 2 << 4);
  assert.equal(exit("mov eax, 6\nlmsw ax", owned).qualification, (3 << 4) | (6 << 16));
});

test("debug-register exits name register, direction and general register", () => {
  assert.equal(exit("mov ecx, dr6", control(PROC.movDr)).qualification, 6 | (1 << 4) | (1 << 8));
  assert.equal(exit("mov dr2, edx", control(PROC.movDr)).qualification, 2 | (2 << 8));
});

test("the guest reads host-owned bits of CR0 and CR4 from the shadows, and writes only its own", () => {
  const found = exit("mov eax, cr0\nmov ebx, cr4\nxor eax, 4\nmov cr0, eax\nmov ecx, cr0\nhlt", ({ cpu }) => {
    cpu.set("cr0Mask", CR0.NE | CR0.WP);
    cpu.set("cr0Shadow", CR0.WP);
    cpu.set("cr4Mask", CR4.VMXE | CR4.PSE);
    cpu.set("cr4Shadow", CR4.PSE);
  });
  const { guest } = found;
  assert.equal(found.reason, EXIT.hlt);
  assert.equal(guest.get("eax") & (CR0.NE | CR0.WP), CR0.WP);
  assert.equal(guest.get("ebx"), CR4.PSE);
  assert.equal(guest.get("ecx") & CR0.EM, CR0.EM);
  assert.equal(guest.cpu.get("cr0") & (CR0.NE | CR0.WP), CR0.NE, "the real bits are untouched");
});

test("CR3-target values do not exit", () => {
  const targets = (guest: Guest): void => {
    control(PROC.cr3Load)(guest);
    guest.cpu.set("cr3TargetCount", 2);
    guest.cpu.set("cr3Target1", 0x5000);
  };
  assert.equal(exit("mov eax, 0x5000\nmov cr3, eax\nhlt", targets).reason, EXIT.hlt);
  assert.equal(exit("mov eax, 0x6000\nmov cr3, eax\nhlt", targets).reason, EXIT.crAccess);
});

test("I/O exits report size, direction, string, REP, form and port", () => {
  for (const [text, qualification] of [
    ["in al, 0x60", 0x60_0048],
    ["out 0x60, eax", 0x60_0043],
    ["mov dx, 0x3f8\nin ax, dx", 0x3f8_0009],
    ["mov dx, 0x3f8\nout dx, al", 0x3f8_0000],
    ["mov dx, 0x1f0\nmov edi, 0x30000\ninsw", 0x1f0_0019],
    ["mov dx, 0x1f0\nmov ecx, 5\nmov esi, 0x30000\nrep outsd", 0x1f0_0033],
  ] as const)
    assert.equal(exit(text).qualification, qualification, text);
});

test("string I/O reports its linear address, segment and address size", () => {
  const found = exit("mov edi, 0x30123\nmov esi, 0x31000\nmov dx, 0x1f0\ndb 0x64\noutsb", ({ cpu }) =>
    cpu.setSegment(SEG.FS, SELECTOR.data0, 0x1000, 0xffffffff, 0xc093),
  );
  assert.equal(found.guest.cpu.get("guestLinearAddress"), 0x32000);
  assert.equal(found.guest.cpu.get("exitInstructionInfo"), (1 << 7) | (SEG.FS << 15));
});

test("REP string I/O with a count of zero does nothing", () => {
  assert.equal(exit("mov dx, 0x1f0\nxor ecx, ecx\nrep insb\nhlt").reason, EXIT.hlt);
});

test("I/O bitmaps choose the ports that exit", () => {
  const bitmaps = (guest: Guest): void => {
    const { cpu, machine } = guest;
    machine.memory.fill(0, 0x50000, 0x52000);
    machine.memory[0x50000 + (0x61 >> 3)] = 1 << (0x61 & 7);
    machine.memory[0x51000 + ((0x9000 & 0x7fff) >> 3)] = 1;
    cpu.set("ioBitmapA", 0x50000);
    cpu.set("ioBitmapB", 0x51000);
    cpu.set("procControls", DEFAULTS | PROC.ioBitmaps);
  };
  const reason = (text: string): number => exit(`${text}\nhlt`, bitmaps).reason;
  assert.equal(reason("in al, 0x60"), EXIT.hlt);
  assert.equal(reason("in al, 0x61"), EXIT.ioInstruction);
  assert.equal(reason("in ax, 0x60"), EXIT.ioInstruction, "any byte of the access counts");
  assert.equal(reason("mov dx, 0x8fff\nout dx, al"), EXIT.hlt);
  assert.equal(reason("mov dx, 0x8ffe\nout dx, eax"), EXIT.ioInstruction);
  assert.equal(reason("mov dx, 0xffff\nin ax, dx"), EXIT.ioInstruction, "a wrap always exits");
  assert.equal(exit("in al, 0x60\nhlt", bitmaps).guest.get("eax") & 0xff, 0xff, "an open bus");
  const strings = exit("mov dx, 0x70\nmov ecx, 3\nmov edi, 0x30000\nrep insw\nhlt", bitmaps);
  assert.equal(strings.reason, EXIT.hlt);
  assert.deepEqual([strings.guest.dword(0x30000), strings.guest.dword(0x30004)], [0xffffffff, 0xffff]);
  assert.deepEqual([strings.guest.get("edi"), strings.guest.get("ecx")], [0x30006, 0]);
});

test("without any I/O exiting, ports are an open bus", () => {
  const found = exit("mov eax, 0\nin al, 0x60\nout 0x61, al\nhlt", ({ cpu }) =>
    cpu.set("procControls", PROC.hlt | PROC.secondary),
  );
  assert.deepEqual([found.reason, found.guest.get("eax")], [EXIT.hlt, 0xff]);
});

test("I/O permission comes before the exit", () => {
  const guest = new Guest("user32");
  guest.machine.memory.fill(0xff, AT.tss + 0x200, AT.tss + 0x300);
  guest.load(AT.user, "in al, 0x60");
  assert.equal(guest.runToHandler(), 13);
});

test("MSR bitmaps choose the accesses that exit, by direction", () => {
  const bitmaps = (guest: Guest): void => {
    guest.machine.memory.fill(0, 0x50000, 0x51000);
    guest.machine.memory[0x50000 + (0x175 >> 3)] = 1 << (0x175 & 7);
    guest.machine.memory[0x50000 + 2048 + (0x174 >> 3)] = 1 << (0x174 & 7);
    guest.cpu.set("msrBitmap", 0x50000);
    guest.cpu.set("procControls", DEFAULTS | PROC.msrBitmaps);
    guest.cpu.set("sysenterCs", 0x99);
  };
  const run = (msr: number, text: string): ReturnType<typeof exit> => exit(`mov ecx, ${msr}\n${text}\nhlt`, bitmaps);
  assert.equal(run(0x174, "rdmsr").reason, EXIT.hlt);
  assert.equal(run(0x174, "rdmsr").guest.get("eax"), 0x99);
  assert.equal(run(0x174, "wrmsr").reason, EXIT.wrmsr);
  assert.equal(run(0x175, "rdmsr").reason, EXIT.rdmsr);
  assert.equal(run(0x175, "wrmsr").reason, EXIT.hlt);
  assert.equal(run(0x4000, "rdmsr").reason, EXIT.rdmsr, "outside the bitmaps");
});

test("the exception bitmap takes vectors, with error code and EIP on the instruction", () => {
  const found = exit("nop\nmov eax, 0xf0\nmov ds, ax", ({ cpu }) => cpu.set("exceptionBitmap", 1 << 13));
  const { cpu } = found.guest;
  assert.deepEqual([found.reason, found.eip], [EXIT.exceptionOrNmi, 6]);
  assert.equal(cpu.get("exitInterruptionInfo"), INTERRUPTION.valid | INTERRUPTION.error | (SOURCE.exception << 8) | 13);
  assert.equal(cpu.get("exitInterruptionError"), 0xf0);
  const int3 = exit("int3", ({ cpu: c }) => c.set("exceptionBitmap", 1 << 3));
  assert.equal(int3.guest.cpu.get("exitInterruptionInfo"), INTERRUPTION.valid | (SOURCE.softwareException << 8) | 3);
  assert.deepEqual([int3.eip, int3.length], [0, 1]);
  for (const vector of [3, 13]) {
    const software = exit(`db 0xcd, ${vector}`, ({ cpu: c }) => c.set("exceptionBitmap", 1 << vector));
    assert.equal(software.reason, EXIT.hlt, "INT n is no exception");
  }
});

test("a debug exit reports what would go to DR6, and leaves DR6 alone", () => {
  const found = exit("nop\nnop", ({ cpu }) => {
    cpu.set("exceptionBitmap", 2);
    cpu.setEflags(0x100);
    cpu.set("dr6", 0xffff0ff0 | 0);
  });
  assert.equal(found.qualification, 0x4000);
  assert.equal(found.guest.cpu.get("dr6"), 0xffff0ff0 | 0);
});

test("page faults exit by bitmap, mask and match", () => {
  const reason = (bitmap: number, mask: number, match: number): number => {
    const found = exit("mov dword [0x300000], 1", (guest) => {
      guest.page()(0x300000, 0);
      guest.cpu.set("exceptionBitmap", bitmap);
      guest.cpu.set("pageFaultMask", mask);
      guest.cpu.set("pageFaultMatch", match);
    });
    if (found.reason === EXIT.exceptionOrNmi) {
      assert.equal(found.qualification, 0x300000);
      assert.equal(found.guest.cpu.get("exitInterruptionError"), 2);
    }
    found.guest.cpu.set("pageFaultMask", 0);
    found.guest.cpu.set("pageFaultMatch", 0);
    return found.reason;
  };
  const pf = 1 << 14;
  assert.equal(reason(pf, 0, 0), EXIT.exceptionOrNmi);
  assert.equal(reason(0, 0, 0), EXIT.hlt);
  assert.equal(reason(pf, 1, 1), EXIT.hlt, "only protection faults");
  assert.equal(reason(pf, 1, 0), EXIT.exceptionOrNmi, "only pages that are not there");
  assert.equal(reason(0, 1, 1), EXIT.exceptionOrNmi, "a clear bit inverts the match");
});

test("an exit during event delivery says which event it was", () => {
  const found = exit("int 0x80", (guest) => {
    guest.gate(0x80, GATE.interrupt & ~0x80);
    guest.cpu.set("exceptionBitmap", 1 << 11);
  });
  assert.equal(found.reason, EXIT.exceptionOrNmi);
  const injected = exit("nop", (guest) => {
    guest.gate(0x20, GATE.interrupt & ~0x80);
    guest.cpu.set("exceptionBitmap", 1 << 11);
    guest.cpu.setEflags(0x200);
    guest.cpu.set("entryInterruptionInfo", INTERRUPTION.valid | 0x20);
  });
  assert.equal(injected.reason, EXIT.exceptionOrNmi);
  assert.equal(injected.guest.cpu.get("idtVectoringInfo"), INTERRUPTION.valid | 0x20);
  assert.equal(injected.guest.cpu.get("exitInterruptionError"), 0x20 * 8 + 3);
});

test("each type of event is injected with the right return address and error code", () => {
  const inject = (type: number, vector: number, extra = 0): Guest => {
    const found = exit("nop\nnop\nnop", ({ cpu }) => {
      cpu.setEflags(0x202);
      cpu.set("entryErrorCode", 0x1234);
      cpu.set("entryInstructionLength", 2);
      cpu.set("entryInterruptionInfo", INTERRUPTION.valid | (type << 8) | vector | extra);
    });
    assert.equal(found.reason, EXIT.hlt);
    assert.equal(found.guest.cpu.get("entryInterruptionInfo") & INTERRUPTION.valid, 0);
    assert.equal((found.eip + AT.code - AT.handlers) / 16, vector);
    return found.guest;
  };
  assert.equal(inject(SOURCE.external, 0x20).stack(1)[0], AT.code);
  const nmi = inject(SOURCE.nmi, 2);
  assert.equal(nmi.stack(1)[0], AT.code);
  assert.equal(nmi.cpu.get("interruptibility") & 8, 8, "NMIs are blocked");
  assert.deepEqual(inject(SOURCE.exception, 13, INTERRUPTION.error).stack(2), [0x1234, AT.code]);
  assert.equal(inject(SOURCE.exception, 6).stack(1)[0], AT.code);
  for (const type of [SOURCE.software, SOURCE.privilegedSoftware, SOURCE.softwareException])
    assert.equal(inject(type, 0x21).stack(1)[0], AT.code + 2);
});

test("the interrupt window opens with IF, outside shadows", () => {
  const found = exit("nop\nsti\nnop\nnop", control(PROC.interruptWindow));
  assert.deepEqual([found.reason, found.eip], [EXIT.interruptWindow, 3]);
  const popf = exit("push 0x202\npopfd\nnop", control(PROC.interruptWindow));
  assert.deepEqual([popf.reason, popf.eip], [EXIT.interruptWindow, 6]);
  const iret = exit(
    `push 0x202\npush ${SELECTOR.code0}\npush there\niretd\nud2\nthere: nop`,
    control(PROC.interruptWindow),
  );
  assert.equal(iret.reason, EXIT.interruptWindow);
});

test("the preemption timer stops the guest after exactly that many instructions", () => {
  const guest = new Guest();
  guest.load(AT.code, `${"inc eax\n".repeat(50)}jmp ${AT.code}`);
  for (const count of [1, 2, 7, 31, 32, 33, 50, 51, 52, 1000]) {
    guest.set("eip", AT.code);
    guest.set("eax", 0);
    assert.equal(guest.run(count).kind, "done");
    assert.equal(guest.get("eax"), count - Math.floor(count / 51), `${count}`);
  }
  assert.equal(guest.run(0).kind, "done");
});

test("pending debug exceptions come at entry", () => {
  const found = exit("nop", ({ cpu }) => cpu.set("pendingDebug", 0x4000));
  assert.equal(found.eip + AT.code, AT.handlers + 16);
  assert.equal(found.guest.cpu.get("dr6") & 0x4000, 0x4000);
  assert.equal(found.guest.stack(1)[0], AT.code);
});

test("VMREAD and VMWRITE know fields by their encodings, and only those", () => {
  const guest = new Guest();
  const { processor } = guest.machine;
  assert.equal(processor.vmwrite(0x681e, 0x1234), true);
  assert.equal(guest.get("eip"), 0x1234);
  assert.equal(processor.vmread(0x0802), SELECTOR.code0);
  assert.equal(processor.vmwrite(0x6820, 0x8d7), true);
  assert.equal(processor.vmread(0x6820), 0x8d7);
  assert.equal(processor.vmread(0x7777), undefined);
  assert.equal(processor.vmwrite(0x7777, 0), false);
});

/** What is wrong with a state, or undefined when the guest could be entered. */
function problem(
  setUp: (guest: Guest) => void,
  mode: "real" | "protected32" | "user32" = "protected32",
): string | undefined {
  const guest = new Guest(mode);
  const { cpu } = guest;
  guest.load(AT.code, "nop");
  setUp(guest);
  cpu.set("preemptionTimer", 1);
  const before = guest.get("eax");
  const reason = guest.machine.processor.run();
  const found = guest.machine.processor.entryProblem;
  if (found !== undefined) {
    assert.equal(reason, EXIT.invalidGuestState | ENTRY_FAILURE);
    assert.equal(guest.get("eax"), before);
  }
  cpu.set("procControls2", PROC2.unrestrictedGuest);
  return found;
}

const segment = (
  guest: Guest,
  number: number,
  changes: { ar?: number; limit?: number; selector?: number; base?: number },
) =>
  guest.cpu.setSegment(
    number,
    changes.selector ?? guest.cpu.segment(number, "selector"),
    changes.base ?? guest.cpu.segment(number, "base"),
    changes.limit ?? guest.cpu.segment(number, "limit"),
    changes.ar ?? guest.cpu.segment(number, "ar"),
  );

test("states that a processor can be in are entered", () => {
  for (const mode of ["real", "protected32", "user32"] as const)
    assert.equal(
      problem(() => {}, mode),
      undefined,
      mode,
    );
  assert.equal(
    problem((g) => segment(g, SEG.CS, { ar: 0x93 }), "real"),
    undefined,
    "CS of type 3",
  );
  assert.equal(
    problem((g) => segment(g, SEG.DS, { ar: 0x10000, limit: 5 })),
    undefined,
    "an unusable segment",
  );
  assert.equal(
    problem((g) => segment(g, SEG.DS, { ar: 0x8093, limit: 0xffffffff }), "real"),
    undefined,
    "unreal mode",
  );
  assert.equal(
    problem((g) => segment(g, SEG.LDTR, { ar: 0x10000 })),
    undefined,
  );
  assert.equal(
    problem((g) => segment(g, SEG.CS, { ar: 0xc09f }), "user32"),
    undefined,
    "conforming code",
  );
});

test("control registers and flags are checked", () => {
  assert.match(problem((g) => g.cpu.set("cr0", CR0.PG)) ?? "", /PG is set without CR0.PE/);
  assert.match(problem((g) => g.cpu.set("procControls2", 0)) ?? "", /without unrestricted guest/);
  assert.match(problem((g) => g.cpu.set("cr4", 1 << 20)) ?? "", /CR4/);
  for (const bit of [3, 5, 15, 22, 31])
    assert.match(problem((g) => g.cpu.set("eflags", (1 << bit) | 2)) ?? "", /EFLAGS/);
  assert.match(problem((g) => g.cpu.set("eflags", 0x20002), "real") ?? "", /real mode/);
});

test("segment registers are checked", () => {
  const wrong: [RegExp, (guest: Guest) => void, ("real" | "protected32" | "user32")?][] = [
    [/CS is not an accessed/, (g) => segment(g, SEG.CS, { ar: 0xc08b })],
    [/CS is not an accessed/, (g) => segment(g, SEG.CS, { ar: 0xc09a })],
    [/CS is not a code/, (g) => segment(g, SEG.CS, { ar: 0xc097 })],
    [/CS is not present/, (g) => segment(g, SEG.CS, { ar: 0xc01b })],
    [/privilege levels of CS and SS/, (g) => segment(g, SEG.CS, { ar: 0xc0fb })],
    [/privilege levels of CS and SS/, (g) => segment(g, SEG.CS, { ar: 0xc0ff })],
    [/granularity/, (g) => segment(g, SEG.CS, { limit: 0xffffe })],
    [/granularity/, (g) => segment(g, SEG.DS, { ar: 0x93, limit: 0xffffffff })],
    [/SS is not a writable/, (g) => segment(g, SEG.SS, { ar: 0xc091 })],
    [/SS has a privilege/, (g) => [segment(g, SEG.SS, { ar: 0xf3 }), segment(g, SEG.CS, { ar: 0xfb })], "real"],
    [/DS is not a readable/, (g) => segment(g, SEG.DS, { ar: 0xc099 })],
    [/DS is not a readable/, (g) => segment(g, SEG.DS, { ar: 0xc092 })],
    [/ES is not present/, (g) => segment(g, SEG.ES, { ar: 0xc013 })],
    [/reserved access rights of GS/, (g) => segment(g, SEG.GS, { ar: 0xc193 })],
    [/TR does not hold/, (g) => segment(g, SEG.TR, { ar: 0x89 })],
    [/TR does not hold/, (g) => segment(g, SEG.TR, { ar: 0x1008b })],
    [/TR names a local/, (g) => segment(g, SEG.TR, { selector: 0x2c })],
    [/LDTR does not hold/, (g) => segment(g, SEG.LDTR, { ar: 0x8b })],
    [/LDTR names a local/, (g) => segment(g, SEG.LDTR, { ar: 0x82, selector: 4 })],
    [/GDTR or IDTR/, (g) => [g.machine.processor.vmwrite(0x4812, 0x10000)]],
    [/not a virtual-8086 segment/, (g) => g.cpu.set("eflags", 0x20002)],
  ];
  for (const [pattern, setUp, mode] of wrong) {
    const found = problem(setUp, mode);
    assert.match(found ?? "entered", pattern);
  }
});

test("without unrestricted guest, RPL and DPL of SS agree, and data segments are no more privileged than their RPL", () => {
  const restricted = (setUp: (guest: Guest) => void) =>
    problem((guest) => {
      guest.page();
      guest.cpu.set("procControls2", 0);
      setUp(guest);
    });
  assert.equal(
    restricted(() => {}),
    undefined,
  );
  assert.match(restricted((g) => segment(g, SEG.SS, { selector: SELECTOR.data3 })) ?? "", /RPLs/);
  assert.match(restricted((g) => segment(g, SEG.DS, { selector: SELECTOR.data3 })) ?? "", /DPL of DS/);
  assert.match(restricted((g) => segment(g, SEG.CS, { ar: 0xc093 })) ?? "", /not a code/);
});

test("activity and interruptibility are checked", () => {
  assert.match(problem((g) => g.cpu.set("activity", 4)) ?? "", /activity/);
  assert.match(problem((g) => g.cpu.set("interruptibility", 0x20)) ?? "", /reserved bits of the interruptibility/);
  assert.match(problem((g) => g.cpu.set("interruptibility", 3)) ?? "", /at once/);
  assert.match(problem((g) => g.cpu.set("interruptibility", 1)) ?? "", /IF clear/);
  assert.match(problem((g) => [g.cpu.set("interruptibility", 2), g.cpu.set("activity", 1)]) ?? "", /inactive/);
  assert.match(problem((g) => g.cpu.set("activity", 1), "user32") ?? "", /halted at a privilege level/);
});

test("the event to inject is checked", () => {
  const event = (info: number, setUp: (guest: Guest) => void = () => {}) =>
    problem((guest) => {
      guest.cpu.set("entryInterruptionInfo", INTERRUPTION.valid | info);
      setUp(guest);
    }) ?? "";
  assert.match(event(1 << 8), /reserved/);
  assert.match(event((7 << 8) | 1), /reserved/);
  assert.match(event((SOURCE.nmi << 8) | 3), /vector other than 2/);
  assert.match(event((SOURCE.exception << 8) | 32), /above 31/);
  assert.match(event((SOURCE.exception << 8) | 13), /error code/);
  assert.match(event((SOURCE.exception << 8) | 6 | INTERRUPTION.error), /error code/);
  assert.match(
    event((SOURCE.exception << 8) | 13 | INTERRUPTION.error, (g) => g.cpu.set("entryErrorCode", 1 << 16)),
    /16 bits/,
  );
  assert.match(
    event((SOURCE.software << 8) | 9, (g) => g.cpu.set("entryInstructionLength", 16)),
    /15 bytes/,
  );
  assert.match(event(0x20), /blocked/);
  assert.match(
    event(0x20, (g) => [g.cpu.setEflags(0x202), g.cpu.set("interruptibility", 2)]),
    /blocked/,
  );
  assert.match(
    event((SOURCE.nmi << 8) | 2, (g) => g.cpu.set("interruptibility", 2)),
    /MOV SS/,
  );
});

test("control bits have the numbers of the manual", () => {
  assert.deepEqual([PIN.preemptionTimer, PROC.ioBitmaps, PROC.msrBitmaps], [1 << 6, 1 << 25, 1 << 28]);
});
