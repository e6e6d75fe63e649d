/** The library in Node: `import { Domain } from "vmxon"`. Images are files, bytes or backends. */
import type { DomainConfig } from "./toolstack/config.ts";
import { Domain as DomainInstance } from "./toolstack/domain.ts";
import { NODE_HOST } from "./toolstack/node/host.ts";
import type { SaveSource } from "./toolstack/saved/container.ts";
import type { RestoreOptions } from "./toolstack/saved/restore.ts";

export { type ErrorCode, VmxonError } from "./common/errors.ts";
export type { BlockBackend, Frame, FrameFeed, FrameSink, Rectangle, TextScreen } from "./hypervisor/backend.ts";
export type { StopReason } from "./hypervisor/stop-reason.ts";
export type { DomainConfig, ImageSource } from "./toolstack/config.ts";
export type { DomainState, ExitCount } from "./toolstack/domain.ts";
export type { EjectOptions, InsertOptions, RemovableDrive, RemovableName } from "./toolstack/domain-media.ts";
export type { Event, Subscription } from "./toolstack/events.ts";
export { MemoryBackend, OverlayBackend } from "./toolstack/memory-backend.ts";
export type { MouseButton } from "./toolstack/mouse.ts";
export type { SaveSink, SaveSource } from "./toolstack/saved/container.ts";
export type { RestoreOptions } from "./toolstack/saved/restore.ts";
export type { WaitOptions } from "./toolstack/waiter.ts";

export type Domain = DomainInstance;

export const Domain = {
  /** Build a domain. Rejects with a VmxonError whose message names what is wrong and what to do. */
  create: (config: DomainConfig): Promise<Domain> => DomainInstance.create(config, { host: NODE_HOST }),
  /** Build a domain again from what its `save` gave. Rejects with a VmxonError that says what does not fit. */
  restore: (source: SaveSource, options: RestoreOptions = {}): Promise<Domain> =>
    DomainInstance.restore(source, { host: NODE_HOST, ...options }),
};
