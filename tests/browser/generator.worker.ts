/** Runs in a worker, or in a page: has the library's worker for generating code do a job, and sends what came of it. */
import { BROWSER_HOST } from "../../src/toolstack/browser/host.ts";

/** What came of an empty job: what the module is, or what went wrong. */
export function tryGenerator(): Promise<string> {
  const generator = BROWSER_HOST.generator!;
  return new Promise((resolve) => {
    generator.onProblem((problem) => resolve(`problem: ${problem}`));
    const look = (): void => {
      if (generator.available())
        generator.generate({ features: "", orders: [] }, (result) => resolve(String(result?.module)));
      else setTimeout(look, 1);
    };
    look();
  });
}

const scope = globalThis as { DedicatedWorkerGlobalScope?: unknown };
if (scope.DedicatedWorkerGlobalScope) tryGenerator().then((outcome) => globalThis.postMessage(outcome));
