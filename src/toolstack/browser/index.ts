/** The library in pages and workers: images are bytes, backends or URLs. */
import type { DomainConfig } from "../config.ts";
import { Domain as DomainInstance } from "../domain.ts";
import type { SaveSource } from "../saved/container.ts";
import type { RestoreOptions } from "../saved/restore.ts";
import { BROWSER_HOST } from "./host.ts";

export { type ErrorCode, VmxonError } from "../../common/errors.ts";
export type { BlockBackend, Frame, FrameFeed, FrameSink, Rectangle, TextScreen } from "../../hypervisor/backend.ts";
export type { StopReason } from "../../hypervisor/stop-reason.ts";
export type { DomainConfig, ImageSource } from "../config.ts";
export type { DomainState, ExitCount } from "../domain.ts";
export type { EjectOptions, InsertOptions, RemovableDrive, RemovableName } from "../domain-media.ts";
export type { Event, Subscription } from "../events.ts";
export { MemoryBackend, OverlayBackend } from "../memory-backend.ts";
export type { MouseButton } from "../mouse.ts";
export type { SaveSink, SaveSource } from "../saved/container.ts";
export type { RestoreOptions } from "../saved/restore.ts";
export type { WaitOptions } from "../waiter.ts";

export type Domain = DomainInstance;

export const Domain = {
  /** Build a domain. Rejects with a VmxonError whose message names what is wrong and what to do. */
  create: (config: DomainConfig): Promise<Domain> => DomainInstance.create(config, { host: BROWSER_HOST }),
  /** Build a domain again from what its `save` gave. Rejects with a VmxonError that says what does not fit. */
  restore: (source: SaveSource, options: RestoreOptions = {}): Promise<Domain> =>
    DomainInstance.restore(source, { host: BROWSER_HOST, ...options }),
};
