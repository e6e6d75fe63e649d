/** The boot menu: F12 or Esc within a moment after the banner shows what there is, and a digit chooses. */
import type { Service } from "../service.ts";
import { type BootDrives, describe, menuTargets } from "./boot-list.ts";
import { Call, reached } from "./call.ts";
import { BDA, EBDA } from "./layout.ts";
import { writeText } from "./text.ts";

/** Words in the keyboard's buffer: scan code, character. */
const KEY = { F12: 0x8600, ESC: 0x011b } as const;
const BDA_BASE = 0x400;
const FIRST_DIGIT = 0x30;
const ESC_CHARACTER = 0x1b;

/** What the menu needs to know. */
export interface BootMenuDeps extends BootDrives {
  /** How long to wait for the key, ms; 0: not at all, but a key that was pressed before counts. */
  readonly bootMenuMs: number;
}

/** Take the keys that wait; true when one of them asks for the menu. */
function menuKey(call: Call): boolean {
  const { memory } = call.context;
  let asked = false;
  const tail = memory.read16(BDA.KEYBOARD_TAIL);
  const start = memory.read16(BDA.KEYBOARD_START);
  const end = memory.read16(BDA.KEYBOARD_END);
  const keys = Math.max(0, (end - start) >> 1);
  let head = memory.read16(BDA.KEYBOARD_HEAD);
  for (let i = 0; i < keys && head !== tail; i++) {
    const key = memory.read16(BDA_BASE + head);
    head = head + 2 >= end ? start : head + 2;
    if (key !== KEY.F12 && key !== KEY.ESC) continue;
    asked = true;
    memory.write16(BDA.KEYBOARD_HEAD, head);
  }
  return asked;
}

/** Services of the menu; each leaves in the stub's zero flag how it goes on. */
export function menuServices(deps: BootMenuDeps): Readonly<Record<string, Service>> {
  return {
    // Zero flag: no waiting.
    menu_prompt: (context) => {
      const call = new Call(context);
      context.memory.write32(call.ebda + EBDA.MENU_DEADLINE, (call.milliseconds + deps.bootMenuMs) >>> 0);
      writeText(call, deps.bootMenuMs === 0 ? "" : "Press F12 or Esc for the boot menu.\r\n\r\n");
    },
    // Zero flag: the menu is wanted; carry: the time is over.
    menu_poll: (context) => {
      const call = new Call(context);
      call.stubZero = menuKey(call);
      call.stubCarry = reached(call.milliseconds, context.memory.read32(call.ebda + EBDA.MENU_DEADLINE));
    },
    menu_show: (context) => {
      const call = new Call(context);
      const lines = menuTargets(call, deps).map((target, i) => `${i + 1}. ${describe(target, deps)}`);
      writeText(
        call,
        `Boot from:\r\n\r\n${lines.join("\r\n")}\r\n\r\nA digit chooses, Esc leaves the order as it is.\r\n\r\n`,
      );
    },
    // AL is a character. Zero flag: the choice is made.
    menu_choose: (context) => {
      const call = new Call(context);
      const targets = menuTargets(call, deps);
      const number = call.al - FIRST_DIGIT;
      const target = targets[number - 1];
      if (target !== undefined) {
        context.memory.write8(call.ebda + EBDA.BOOT_CHOICE, number);
        if (target.device === "disk") deps.disks.makeFirst(call, target.index);
      }
      call.stubZero = target !== undefined || call.al === ESC_CHARACTER;
    },
  };
}
