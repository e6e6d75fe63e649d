/** The far side of devices: what toolstack fills in with files, terminals and pages. All of it asynchronous or queued. */

/** A random-access medium: a disk or floppy image. Offsets and lengths are bytes; callers stay inside `size`. */
export interface BlockBackend {
  /** Bytes of the medium. */
  readonly size: number;
  readonly readonly: boolean;
  /** Fill `target` from `offset`. Rejects with a VmxonError when the host cannot read. */
  read(offset: number, target: Uint8Array): Promise<void>;
  /** Write all of `source` at `offset`; resolved does not mean durable. */
  write(offset: number, source: Uint8Array): Promise<void>;
  /** Resolves once everything written before is durable. */
  flush(): Promise<void>;
  /**
   * The bytes of this range are no longer needed. What can be let go of reads as zero afterwards, the rest as before: media
   * free whole units of their own, and some free nothing.
   */
  discard(offset: number, length: number): Promise<void>;
  close(): Promise<void>;
}

/** Where a serial line's transmitted bytes go. Received bytes are pushed into the device's `receive`. */
export interface ByteSink {
  write(byte: number): void;
}

/** Geometry of a floppy or disk. */
export interface Geometry {
  readonly cylinders: number;
  readonly heads: number;
  readonly sectors: number;
}

/** A floppy drive as its controller and the firmware share it. `changed` is the drive's disk-change latch. */
export interface FloppyDrive {
  medium: FloppyMedium | undefined;
  changed: boolean;
}

export interface FloppyMedium {
  readonly backend: BlockBackend;
  readonly geometry: Geometry;
  /** CMOS drive type that carries it: 1 = 360 KB, 2 = 1.2 MB, 3 = 720 KB, 4 = 1.44 MB, 5 = 2.88 MB. */
  readonly driveType: 1 | 2 | 3 | 4 | 5;
  readonly writeProtected: boolean;
}

/** A unit on an IDE cable. */
export type IdeUnit = Disk | CdDrive;

/** A fixed disk as its controller and the firmware share it. */
export interface Disk {
  readonly kind: "disk";
  readonly backend: BlockBackend;
  /** Physical geometry reported by IDENTIFY; `sectors` ≤ 63, `heads` ≤ 16, `cylinders` ≤ 16383. */
  readonly geometry: Geometry;
  readonly serial: string;
  readonly model: string;
}

/** A CD or DVD drive as its controller and the firmware share it. */
export interface CdDrive {
  readonly kind: "cdrom";
  readonly serial: string;
  readonly model: string;
  /** What lies in the tray, whether that is open or not. */
  medium: CdMedium | undefined;
  trayOpen: boolean;
}

/** A disc of data: whole sectors of 2048 bytes. */
export interface CdMedium {
  readonly backend: BlockBackend;
  /** Tracks in ascending order, the first one at 0. One session with one track when absent. */
  readonly tracks?: readonly CdTrack[];
}

/** A data track (Mode 1). */
export interface CdTrack {
  /** Sessions count from 1. */
  readonly session: number;
  /** First sector, as a logical address. */
  readonly start: number;
}

/** A copy of a text screen. Cells are VGA character/attribute pairs. */
export interface TextScreen {
  readonly columns: number;
  readonly rows: number;
  /** rows × columns cells: character code (CP437 unless the guest loaded fonts) | attribute << 8. */
  readonly cells: Uint16Array;
  /** Cell index of the cursor, or -1 when hidden. */
  readonly cursor: number;
  /** True while blinking attributes mean bright backgrounds off (attribute bit 7 = blink). */
  readonly blink: boolean;
}

/** A picture: width × height RGBA pixels. */
export interface Frame {
  readonly width: number;
  readonly height: number;
  readonly rgba: Uint8ClampedArray;
}

/** A part of a picture, in pixels. */
export interface Rectangle {
  readonly x: number;
  readonly y: number;
  readonly width: number;
  readonly height: number;
}

/** A front end that shows pictures: a canvas, a VNC client. Called from {@link FrameFeed.update} only. */
export interface FrameSink {
  /** The picture is so large from now on. All of it follows. */
  resize(width: number, height: number): void;
  /** `part` of the picture has changed. `picture` is the whole of it, and lives on: what is to last must be copied. */
  update(part: Rectangle, picture: Frame): void;
  /** The text cursor moved, or appeared or vanished; whether or not it is lit just now. */
  cursor?(at: Rectangle | undefined): void;
}

/** What keeps one front end up to date. */
export interface FrameFeed {
  /** Tell the sink what has changed since the last call; true when anything has. Costs what changed. */
  update(): boolean;
}

/** What a display front end can ask a video adapter. */
export interface Display {
  /** The text screen, or undefined in graphics modes. */
  text(): TextScreen | undefined;
  /** A copy of the picture as a monitor would show it, in any mode. */
  frame(): Frame;
  /** Keep `sink` up to date, as often as it asks for it. */
  feed(sink: FrameSink): FrameFeed;
  /** Changes whenever something visible changed since it was last read. */
  readonly generation: number;
}
