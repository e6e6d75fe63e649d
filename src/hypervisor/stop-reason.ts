/** Why a domain stopped running. */
export interface StopReason {
  readonly kind: "poweroff" | "reboot" | "crash" | "destroyed";
  /** For people: what happened and where. */
  readonly message: string;
}
