/**
 * Scheduling priority of this process's other threads: V8 compiles and collects garbage on several, and with few
 * processors they take them from the thread that runs the guest.
 */
import { readdirSync } from "node:fs";
import { setPriority } from "node:os";
import { isMainThread } from "node:worker_threads";

/** Niceness of threads that work in the background. */
const BACKGROUND = 10;
/** Threads of this process, by number, as Linux shows them; the main one has the process's number. */
const TASKS = "/proc/self/task";

/**
 * Let the main thread go first: lower the priority of all others there are now. Does nothing on other systems than
 * Linux, where priorities are not a thread's own, and nothing in worker threads.
 */
export function yieldToMainThread(): void {
  if (process.platform !== "linux" || !isMainThread) return;
  try {
    for (const task of readdirSync(TASKS)) {
      const thread = Number(task);
      // For Linux a thread is as good as a process here (setpriority(2)).
      if (thread !== process.pid) setPriority(thread, BACKGROUND);
    }
  } catch {
    // A thread has ended meanwhile, or nobody may see them: then they are as they were.
  }
}
