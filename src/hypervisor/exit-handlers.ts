/**
 * One function for each VM-exit reason. A handler finishes what the instruction wanted and moves EIP on, or reports why
 * the domain must stop. Numbers and qualifications as in SDM 3D appendix C and 3C 28.2.
 */

import { EFLAGS } from "../isa/flags.ts";
import { SEG } from "../isa/state.ts";
import { GuestFault, WORD } from "../processor/cpu.ts";
import { EXIT, INTERRUPTION, PROC } from "../processor/exits.ts";
import { DR6, VECTOR } from "../processor/registers.ts";
import { cpuid } from "./cpuid.ts";
import type { AccessSize } from "./device.ts";
import { FIRMWARE_PORT } from "./firmware-service.ts";
import type { HvmDomain } from "./hvm-domain.ts";
import { readMsr, writeMsr } from "./msrs.ts";

/** Handles one exit; a message stops the domain as crashed. */
export type ExitHandler = (domain: HvmDomain) => string | undefined;

const EXCEPTION = 3;

/** Let the guest see an exception at its next entry. */
export function injectException(domain: HvmDomain, vector: number, error?: number): void {
  const { cpu } = domain;
  cpu.set(
    "entryInterruptionInfo",
    INTERRUPTION.valid |
      vector |
      (EXCEPTION << INTERRUPTION.typeShift) |
      (error === undefined ? 0 : INTERRUPTION.error),
  );
  cpu.i32[WORD.entryErrorCode] = error ?? 0;
}

/** #GP(0), with an error code where the mode pushes one. */
function injectGp(domain: HvmDomain): void {
  injectException(domain, VECTOR.GP, domain.cpu.protectedMode || domain.cpu.virtual8086 ? 0 : undefined);
}

/** EIP behind the exiting instruction, which is thereby done: shadows that it stood in are over. */
function advance(domain: HvmDomain): void {
  const { cpu } = domain;
  cpu.endShadow();
  // The single-step trap of an instruction that the hypervisor carried out (SDM 3C 27.7.3).
  if (cpu.i32[WORD.eflags]! & EFLAGS.TF) cpu.i32[WORD.pendingDebug] = cpu.i32[WORD.pendingDebug]! | DR6.BS;
  cpu.i32[WORD.eip] = (cpu.i32[WORD.eip]! + cpu.i32[WORD.exitInstructionLength]!) | 0;
  cpu.i32[WORD.eflags] = cpu.i32[WORD.eflags]! & ~EFLAGS.RF;
}

function handleCpuid(domain: HvmDomain): undefined {
  const { cpu } = domain;
  const { eax, ebx, ecx, edx } = cpuid(domain.cpuModel, cpu.gpr(0), domain.apic?.enabled === true);
  cpu.setGpr(0, eax);
  cpu.setGpr(3, ebx);
  cpu.setGpr(1, ecx);
  cpu.setGpr(2, edx);
  advance(domain);
}

function handleHlt(domain: HvmDomain): undefined {
  advance(domain);
  // A single-step trap wakes the processor before it sleeps.
  if (domain.cpu.get("pendingDebug") === 0) domain.halt();
}

function handleRdmsr(domain: HvmDomain): undefined {
  const { cpu } = domain;
  const value = readMsr(cpu, cpu.gpr(1) >>> 0, domain.apicMsrs);
  if (value === undefined) {
    injectGp(domain);
    return;
  }
  cpu.setGpr(0, Number(value & 0xffffffffn) | 0);
  cpu.setGpr(2, Number((value >> 32n) & 0xffffffffn) | 0);
  advance(domain);
}

function handleWrmsr(domain: HvmDomain): undefined {
  const { cpu } = domain;
  const value = (BigInt(cpu.gpr(2) >>> 0) << 32n) | BigInt(cpu.gpr(0) >>> 0);
  if (writeMsr(cpu, cpu.gpr(1) >>> 0, value, domain.apicMsrs)) advance(domain);
  else injectGp(domain);
}

/** I/O instruction: a request to the device model, or a firmware trap. */
function handleIo(domain: HvmDomain): string | undefined {
  const { cpu, bus } = domain;
  const qualification = cpu.i32[WORD.exitQualification]!;
  const size = ((qualification & 7) + 1) as AccessSize;
  const input = (qualification & 8) !== 0;
  const port = (qualification >>> 16) & 0xffff;
  if (qualification & 16) return handleStringIo(domain, size, input, (qualification & 32) !== 0, port);
  advance(domain);
  if (!input) {
    const value = cpu.gpr(0);
    if (port === FIRMWARE_PORT && size === 1 && domain.firmwareTrap()) return undefined;
    bus.out(port, size, size === 4 ? value >>> 0 : size === 2 ? value & 0xffff : value & 0xff);
    return undefined;
  }
  const value = bus.in(port, size);
  if (size === 1) cpu.setByteSlot(0, value);
  else if (size === 2) cpu.setGpr16(0, value);
  else cpu.setGpr(0, value);
  return undefined;
}

/** Elements of a repeated port string moved before interrupts get their chance. */
const MAX_ELEMENTS = 4096;
const buffer = new Uint8Array(MAX_ELEMENTS * 4);

function handleStringIo(domain: HvmDomain, size: AccessSize, input: boolean, rep: boolean, port: number): undefined {
  const { cpu, bus } = domain;
  const info = cpu.i32[WORD.exitInstructionInfo]!;
  const short = ((info >> 7) & 7) === 0;
  const segment = input ? SEG.ES : (info >> 15) & 7;
  const register = input ? 7 : 6;
  const mask = short ? 0xffff : -1;
  const step = cpu.i32[WORD.eflags]! & EFLAGS.DF ? -size : size;
  const left = rep ? (short ? cpu.gpr16(1) : cpu.gpr(1) >>> 0) : 1;
  const setRegister = (number: number, value: number): void =>
    short ? cpu.setGpr16(number, value) : cpu.setGpr(number, value);
  const many = bus.stringPort(port, size);
  let count = Math.min(left, MAX_ELEMENTS);
  const offset = cpu.gpr(register) & mask;
  // Only as far as the page goes: the first element of each page may fault, and then belongs to a restarted instruction.
  const linear = cpu.i32[WORD.guestLinearAddress]!;
  const inPage = linear & 4095;
  count = Math.min(count, Math.max(1, step > 0 ? Math.floor((4096 - inPage) / size) : Math.floor(inPage / size) + 1));
  let done = 0;
  try {
    if (
      count > 1 &&
      step > 0 &&
      many?.device.readString &&
      many.device.writeString &&
      offset + count * size <= (short ? 0x10000 : 0x1_0000_0000)
    ) {
      const bytes = buffer.subarray(0, count * size);
      const at = cpu.linear(segment, offset, count * size, input);
      if (input) {
        many.device.readString(many.offset, size, bytes);
        for (let i = 0; i < bytes.length; i += size) cpu.write((at + i) | 0, size, element(bytes, i, size));
      } else {
        for (let i = 0; i < bytes.length; i += size) setElement(bytes, i, size, cpu.read((at + i) | 0, size));
        many.device.writeString(many.offset, size, bytes);
      }
      done = count;
    } else {
      for (; done < count; done++) {
        const at = cpu.linear(segment, (offset + done * step) & mask, size, input);
        if (input) {
          cpu.readForWrite(at, size);
          cpu.write(at, size, bus.in(port, size));
        } else {
          bus.out(port, size, cpu.read(at, size));
        }
      }
    }
  } catch (fault) {
    if (!(fault instanceof GuestFault)) throw fault;
    const withError = cpu.protectedMode || cpu.virtual8086;
    injectException(domain, fault.vector, withError ? fault.error : undefined);
  }
  setRegister(register, cpu.gpr(register) + done * step);
  if (rep) setRegister(1, left - done);
  domain.clock.advance(done);
  if (done === left && !(cpu.i32[WORD.entryInterruptionInfo]! & INTERRUPTION.valid)) advance(domain);
}

function element(bytes: Uint8Array, at: number, size: number): number {
  let value = bytes[at]!;
  if (size > 1) value |= bytes[at + 1]! << 8;
  if (size > 2) value |= (bytes[at + 2]! << 16) | (bytes[at + 3]! << 24);
  return value;
}

function setElement(bytes: Uint8Array, at: number, size: number, value: number): void {
  for (let i = 0; i < size; i++) bytes[at + i] = value >>> (8 * i);
}

/** The window is open: the next entry injects. */
function handleInterruptWindow({ cpu }: HvmDomain): undefined {
  cpu.i32[WORD.procControls] = cpu.i32[WORD.procControls]! & ~PROC.interruptWindow;
}

function handleTripleFault(domain: HvmDomain): undefined {
  domain.onTripleFault();
}

function skip(domain: HvmDomain): undefined {
  advance(domain);
}

/** VMCALL: a debug console; AL is one character. */
function handleVmcall(domain: HvmDomain): undefined {
  advance(domain);
  domain.console(domain.cpu.byteSlot(0));
}

/** An access to a device that must know the time, or may call for an interrupt: the instruction is done alone. */
function handleEptViolation({ processor }: HvmDomain): undefined {
  processor.alone = true;
}

/** Handlers by basic exit reason; a reason without one stops the domain. */
export const EXIT_HANDLERS: Readonly<Record<number, ExitHandler>> = {
  [EXIT.tripleFault]: handleTripleFault,
  [EXIT.interruptWindow]: handleInterruptWindow,
  [EXIT.cpuid]: handleCpuid,
  [EXIT.hlt]: handleHlt,
  [EXIT.invd]: skip,
  [EXIT.wbinvd]: skip,
  [EXIT.vmcall]: handleVmcall,
  [EXIT.ioInstruction]: handleIo,
  [EXIT.rdmsr]: handleRdmsr,
  [EXIT.wrmsr]: handleWrmsr,
  [EXIT.eptViolation]: handleEptViolation,
  [EXIT.preemptionTimer]: () => undefined,
};
