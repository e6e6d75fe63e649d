/** The wire between the 8042 and what is plugged into it. */

/** A keyboard or mouse as its controller sees it. */
export interface Ps2Device {
  /** A byte from the controller: a command or its parameter. */
  write(byte: number): void;
  /** The next byte for the controller, or -1. The controller does not ask while it holds the clock line low. */
  take(): number;
  /** `ready` is called when bytes are waiting. */
  connect(ready: () => void): void;
}

/** Bytes common to the commands and answers of all PS/2 devices. */
export const PS2 = {
  ACK: 0xfa,
  RESEND: 0xfe,
  /** Basic assurance test completed. */
  BAT_OK: 0xaa,
  RESET: 0xff,
  SET_DEFAULTS: 0xf6,
  DISABLE: 0xf5,
  ENABLE: 0xf4,
  IDENTIFY: 0xf2,
  SET_RATE: 0xf3,
} as const;
