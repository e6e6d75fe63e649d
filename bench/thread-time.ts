/** The time that the asking thread has run, for figures that a busy machine does not spoil. */
import { readFileSync } from "node:fs";

/**
 * Ms that this thread has run: on Linux the first field of schedstat (Documentation/scheduler/sched-stats), which may be a
 * tick of the scheduler behind; undefined elsewhere.
 */
export function threadTime(): number | undefined {
  try {
    return Number(readFileSync("/proc/thread-self/schedstat", "utf8").split(" ")[0]) / 1e6;
  } catch {
    return undefined;
  }
}
