/** A page or worker as a host: images are fetched by their address and kept in memory. */
import { VmxonError } from "../../common/errors.ts";
import { type GeneratorThread, RegionGenerator } from "../../processor/compiler/generator.ts";
import { type Host, NO_HOST } from "../host.ts";
import { MemoryBackend } from "../memory-backend.ts";

/** A worker whose code lies beside the library's: a file of the package, or of `npm run bundle`. */
function startGenerator(): GeneratorThread {
  const worker = new Worker(new URL("./generator.js", import.meta.url), { type: "module" });
  return {
    post: (message) => worker.postMessage(message),
    onMessage: (listener) => worker.addEventListener("message", ({ data }) => listener(data)),
    onError(listener) {
      worker.addEventListener("error", (event) => {
        event.preventDefault();
        listener(event.message || "its code could not be loaded");
      });
      worker.addEventListener("messageerror", () => listener("modules cannot be sent between workers here"));
    },
    stop: () => worker.terminate(),
  };
}

/** Images by URL, read whole; writes stay in memory. A worker for generating code. */
export const BROWSER_HOST: Host = {
  generator: new RegionGenerator(startGenerator),
  async openImage(name) {
    const response = await fetch(name).catch((cause: unknown) => {
      throw new VmxonError("image", `${name}: cannot fetch it: ${String(cause)}`, { cause });
    });
    if (!response.ok) {
      throw new VmxonError("image", `${name}: the server answered ${response.status} ${response.statusText}`);
    }
    return new MemoryBackend(new Uint8Array(await response.arrayBuffer()));
  },
  openSerial: NO_HOST.openSerial,
};
