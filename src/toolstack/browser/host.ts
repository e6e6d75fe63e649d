/** A page or worker as a host: images are fetched by their address. */
import { type GeneratorThread, RegionGenerator } from "../../processor/compiler/generator.ts";
import { type Host, NO_HOST } from "../host.ts";
import { HttpImage } from "../images/http.ts";

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

/** Images by address, read by parts where the server lets them. A worker for generating code. */
export const BROWSER_HOST: Host = {
  generator: new RegionGenerator(startGenerator),
  readsOnly: true,
  openImage: (name) => HttpImage.open(new URL(name, location.href).href),
  relativeTo: (base, name) => new URL(name, new URL(base, location.href)).href,
  openSerial: NO_HOST.openSerial,
};
