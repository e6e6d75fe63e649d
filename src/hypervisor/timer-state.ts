/** Timers in saved states: a deadline as a plain number. */
import type { Timer } from "./clock.ts";

/** Deadline of `timer` in ns of guest time, -1 while it is not armed. */
export function timerState(timer: Timer): number {
  return Number.isFinite(timer.deadline) ? timer.deadline : -1;
}

/** Arm or cancel `timer` as {@link timerState} found it. The clock must stand at the hour of the saved state. */
export function restoreTimer(timer: Timer, deadline: number): void {
  if (deadline < 0) timer.cancel();
  else timer.arm(deadline);
}
