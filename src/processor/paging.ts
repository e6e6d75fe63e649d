/** Guest page walks: 32-bit with PSE and PGE, PAE with NX. SDM 3A chapter 4. */
import type { Cpu } from "./cpu.ts";
import { CR0, CR4, EFER, PF_ERROR, VECTOR } from "./registers.ts";

export type Access = "read" | "write" | "execute";

/** What is asked of a page beside reading, as page-fault error codes name it (SDM 3A 4.7). */
export const PAGE_ACCESS = { write: PF_ERROR.write, user: PF_ERROR.user, fetch: PF_ERROR.fetch } as const;

/** What a fill returns instead of a machine offset: a page fault was raised, or the page is not RAM for this access. */
export const FILL = { fault: -1, elsewhere: -2 } as const;

/** Where a linear address leads. */
export interface Translation {
  /** Machine offset, or -1 when the guest-physical address is neither RAM nor ROM. */
  machine: number;
  /** Guest-physical address, A20 applied. */
  gpa: number;
  global: boolean;
  /** Mapped by a 2 or 4 MiB page. */
  large: boolean;
}

const P = 1;
const RW = 2;
const US = 4;
const ACCESSED = 0x20;
const DIRTY = 0x40;
const PS = 0x80;
const G = 0x100;
/** Bits of a 4 MiB PDE that must be zero; 20–13 carry the address above 4 GiB (PSE-36), which we do not have. */
const PDE4M_RESERVED = 0x003fe000;
/** Reserved bits of the upper half of PAE entries with 36 physical address bits; bit 63 is NX. */
const PAE_HIGH_RESERVED = 0x7ffffff0;
const NX_HIGH = 0x80000000 | 0;

/** Walk the guest's tables for an access; sets accessed and dirty bits; throws #PF with CR2 and error code set. */
export function walk(cpu: Cpu, linear: number, access: Access, user: boolean, out: Translation): void {
  if (!(cpu.get("cr0") & CR0.PG)) {
    finish(cpu, linear >>> 0, out, false, false);
    return;
  }
  if (cpu.get("cr4") & CR4.PAE) walkPae(cpu, linear, access, user, out);
  else walk32(cpu, linear, access, user, out);
}

/** A physical address as it leaves the processor: line 20 may be forced low. */
function throughA20(cpu: Cpu, address: number): number {
  return address >= 0x1_0000_0000 ? address : (address & cpu.get("a20Mask")) >>> 0;
}

function finish(cpu: Cpu, address: number, out: Translation, global: boolean, large: boolean): void {
  const gpa = throughA20(cpu, address);
  out.gpa = gpa;
  out.machine = cpu.machineOf(gpa);
  out.global = global;
  out.large = large;
}

function pageFault(cpu: Cpu, linear: number, access: Access, user: boolean, flags: number): never {
  let error = flags;
  if (access === "write") error |= PF_ERROR.write;
  if (user) error |= PF_ERROR.user;
  const nx = cpu.get("cr4") & CR4.PAE && cpu.get("efer") & EFER.NXE;
  if (access === "execute" && nx) error |= PF_ERROR.fetch;
  cpu.set("cr2", linear);
  throw cpu.fault(VECTOR.PF, error);
}

/** Whether the combined rights of a mapping allow the access (SDM 3A 4.6.1). */
function denied(cpu: Cpu, rights: number, access: Access, user: boolean, noExecute: boolean): boolean {
  if (access === "execute" && noExecute) return true;
  if (user) return !(rights & US) || (access === "write" && !(rights & RW));
  return access === "write" && !(rights & RW) && (cpu.get("cr0") & CR0.WP) !== 0;
}

function walk32(cpu: Cpu, linear: number, access: Access, user: boolean, out: Translation): void {
  const cr4 = cpu.get("cr4");
  const a20 = cpu.get("a20Mask");
  const pdeAddress = (((cpu.get("cr3") & -4096) + ((linear >>> 22) << 2)) & a20) >>> 0;
  const pde = cpu.readPhysical32(pdeAddress);
  if (!(pde & P)) pageFault(cpu, linear, access, user, 0);
  const global = (cr4 & CR4.PGE) !== 0;
  if (pde & PS && cr4 & CR4.PSE) {
    if (pde & PDE4M_RESERVED) pageFault(cpu, linear, access, user, PF_ERROR.present | PF_ERROR.reserved);
    if (denied(cpu, pde, access, user, false)) pageFault(cpu, linear, access, user, PF_ERROR.present);
    const marked = pde | ACCESSED | (access === "write" ? DIRTY : 0);
    if (marked !== pde) cpu.writePhysical32(pdeAddress, marked);
    finish(cpu, ((pde & 0xffc00000) | (linear & 0x3fffff)) >>> 0, out, global && (pde & G) !== 0, true);
    return;
  }
  const pteAddress = (((pde & -4096) + (((linear >>> 12) & 1023) << 2)) & a20) >>> 0;
  const pte = cpu.readPhysical32(pteAddress);
  if (!(pte & P)) pageFault(cpu, linear, access, user, 0);
  if (denied(cpu, pde & pte, access, user, false)) pageFault(cpu, linear, access, user, PF_ERROR.present);
  if (!(pde & ACCESSED)) cpu.writePhysical32(pdeAddress, pde | ACCESSED);
  const marked = pte | ACCESSED | (access === "write" ? DIRTY : 0);
  if (marked !== pte) cpu.writePhysical32(pteAddress, marked);
  finish(cpu, ((pte & -4096) | (linear & 4095)) >>> 0, out, global && (pte & G) !== 0, false);
}

/** Physical address in a PAE entry, as a number that may exceed 32 bits. */
function paeAddress(low: number, high: number): number {
  return ((low & -4096) >>> 0) + (high & 0xf) * 0x1_0000_0000;
}

function walkPae(cpu: Cpu, linear: number, access: Access, user: boolean, out: Translation): void {
  const nxe = (cpu.get("efer") & EFER.NXE) !== 0;
  const highReserved = PAE_HIGH_RESERVED | (nxe ? 0 : NX_HIGH);
  const global = (cpu.get("cr4") & CR4.PGE) !== 0;
  const fault = (flags: number): never => pageFault(cpu, linear, access, user, flags);
  const pdpteAddress = throughA20(cpu, ((cpu.get("cr3") & -32) >>> 0) + ((linear >>> 30) << 3));
  const pdpte = cpu.readPhysical32(pdpteAddress);
  if (!(pdpte & P)) fault(0);
  const directory = paeAddress(pdpte, cpu.readPhysical32(pdpteAddress + 4));
  const pdeAddress = throughA20(cpu, directory + (((linear >>> 21) & 511) << 3));
  const pde = cpu.readPhysical32(pdeAddress);
  if (!(pde & P)) fault(0);
  const pdeHigh = cpu.readPhysical32(pdeAddress + 4);
  if (pdeHigh & highReserved) fault(PF_ERROR.present | PF_ERROR.reserved);
  const pdeNx = nxe && pdeHigh < 0;
  if (pde & PS) {
    if (pde & 0x1fe000) fault(PF_ERROR.present | PF_ERROR.reserved);
    if (denied(cpu, pde, access, user, pdeNx)) fault(PF_ERROR.present);
    const marked = pde | ACCESSED | (access === "write" ? DIRTY : 0);
    if (marked !== pde) cpu.writePhysical32(pdeAddress, marked);
    const address = ((pde & 0xffe00000) >>> 0) + (pdeHigh & 0xf) * 0x1_0000_0000 + (linear & 0x1fffff);
    finish(cpu, address, out, global && (pde & G) !== 0, true);
    return;
  }
  const pteAddress = throughA20(cpu, paeAddress(pde, pdeHigh) + (((linear >>> 12) & 511) << 3));
  const pte = cpu.readPhysical32(pteAddress);
  if (!(pte & P)) fault(0);
  const pteHigh = cpu.readPhysical32(pteAddress + 4);
  if (pteHigh & highReserved) fault(PF_ERROR.present | PF_ERROR.reserved);
  if (denied(cpu, pde & pte, access, user, pdeNx || (nxe && pteHigh < 0))) fault(PF_ERROR.present);
  if (!(pde & ACCESSED)) cpu.writePhysical32(pdeAddress, pde | ACCESSED);
  const marked = pte | ACCESSED | (access === "write" ? DIRTY : 0);
  if (marked !== pte) cpu.writePhysical32(pteAddress, marked);
  finish(cpu, paeAddress(pte, pteHigh) + (linear & 4095), out, global && (pte & G) !== 0, false);
}
