/** INT 15h: system services. The larger ones have files of their own. Ralf Brown INT 15h. */
import type { E820Entry } from "../../hypervisor/initial-state.ts";
import type { Service } from "../service.ts";
import { powerManagement } from "./apm.ts";
import type { Label } from "./call.ts";
import { Call } from "./call.ts";
import { BDA, ENTRY, PORT, ROM } from "./layout.ts";
import { addressLine20, blockMove, extendedSize, memoryMapEntry, memorySizes } from "./memory-services.ts";
import { mouseFunction } from "./mouse.ts";
import { delay, eventWait } from "./wait.ts";

const UNSUPPORTED = 0x86;
const JOYSTICK_BUTTONS = 0xf0;

function unsupported(call: Call): void {
  call.ah = UNSUPPORTED;
  call.carry = true;
}

function joystick(call: Call): void {
  call.carry = false;
  if (call.dx === 0) call.al = call.context.io.in(PORT.JOYSTICK, 1) & JOYSTICK_BUTTONS;
  else if (call.dx === 1) call.ax = call.bx = call.cx = call.dx = 0;
  else unsupported(call);
}

function extendedMemory(call: Call, memoryMap: readonly E820Entry[]): void {
  switch (call.al) {
    case 0x01:
      memorySizes(call, memoryMap, false);
      return;
    case 0x81:
      memorySizes(call, memoryMap, true);
      return;
    case 0x20:
      memoryMapEntry(call, memoryMap);
      return;
    default:
      unsupported(call);
  }
}

/** What INT 15h needs to know of the machine. */
export interface SystemDeps {
  readonly memoryMap: readonly E820Entry[];
  powerOff(): void;
}

function serve(call: Call, label: Label, deps: SystemDeps): void {
  const { cpu, memory } = call.context;
  switch (call.ah) {
    case 0x24:
      addressLine20(call);
      return;
    case 0x4f:
      // Nobody hooks the key: carry set lets INT 9 use the scan code in AL.
      call.carry = true;
      return;
    case 0x52:
    case 0x80:
    case 0x81:
    case 0x82:
    case 0x85:
    case 0x90:
    case 0x91:
      call.ah = 0;
      call.carry = false;
      return;
    case 0x53:
      powerManagement(call, label, deps.powerOff);
      return;
    case 0x83:
      eventWait(call);
      return;
    case 0x84:
      joystick(call);
      return;
    case 0x86:
      delay(call, label);
      return;
    case 0x87:
      blockMove(call);
      return;
    case 0x88:
      extendedSize(call, deps.memoryMap);
      return;
    case 0xc0:
      cpu.loadSelector("es", ROM.SEGMENT);
      call.bx = ENTRY.CONFIGURATION;
      call.ah = 0;
      call.carry = false;
      return;
    case 0xc1:
      cpu.loadSelector("es", memory.read16(BDA.EBDA_SEGMENT));
      call.carry = false;
      return;
    case 0xc2:
      mouseFunction(call, label);
      return;
    case 0xe8:
      extendedMemory(call, deps.memoryMap);
      return;
    default:
      unsupported(call);
  }
}

/** Service of INT 15h. */
export function systemServices(label: Label, deps: SystemDeps): Readonly<Record<string, Service>> {
  return { int15: (context) => serve(new Call(context), label, deps) };
}
