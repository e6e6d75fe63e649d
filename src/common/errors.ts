/** The one error type that crosses layers. Its message says what was wrong, where, and what to do next. */

/** Stable codes, for programs; the message is for people. */
export type ErrorCode =
  | "usage"
  | "config"
  | "image"
  | "kernel"
  | "io"
  | "busy"
  | "firmware"
  | "guest"
  | "entry"
  | "unsupported"
  | "state"
  | "internal";

export class VmxonError extends Error {
  readonly code: ErrorCode;
  constructor(code: ErrorCode, message: string, options?: { cause?: unknown }) {
    super(message, options);
    this.name = "VmxonError";
    this.code = code;
  }
}
