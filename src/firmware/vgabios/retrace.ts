/** Waiting for the vertical retrace, as services that promise to act in it do. */
import { type ServiceContext, TRAP_BYTES } from "../service.ts";
import { crtcPort } from "./adapter.ts";

/** Input status 1 lies here from the CRT controller's index port. */
const STATUS1_FROM_CRTC = 6;
const VERTICAL_RETRACE = 0x08;

/** True in the vertical retrace. Else the guest traps again at once: the service has nothing to do but to return. */
export function inRetrace(context: ServiceContext): boolean {
  if (context.io.in(crtcPort(context) + STATUS1_FROM_CRTC, 1) & VERTICAL_RETRACE) return true;
  context.cpu.eip = (context.cpu.eip - TRAP_BYTES) & 0xffff;
  return false;
}
