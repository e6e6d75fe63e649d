/** A page or worker as a host: images are fetched by their address and kept in memory. */
import { VmxonError } from "../../common/errors.ts";
import { type Host, NO_HOST } from "../host.ts";
import { MemoryBackend } from "../memory-backend.ts";

/** Images by URL, read whole; writes stay in memory. */
export const BROWSER_HOST: Host = {
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
