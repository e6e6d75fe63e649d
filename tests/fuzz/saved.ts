/**
 * A hostile file in place of a saved domain, made from a seed: bytes of the file changed, or values inside of it with every
 * check put right again. Restoring it gives a typed error or a domain; whatever that does ends as a stop of its own.
 */
import { VmxonError } from "../../src/common/errors.ts";
import { assemble } from "../../src/firmware/assembler.ts";
import { Domain } from "../../src/toolstack/domain.ts";
import { Random } from "../oracle/random.ts";
import { fileOf, framesOf } from "../support/saved-file.ts";

/** Keeps devices busy: disk reads by hand in mid-transfer, a tick, the screen. */
const PROGRAM = `
  xor ax, ax
  mov ds, ax
  mov es, ax
  mov sp, 7C00h
  sti
next:
  mov dx, 1F6h
  mov al, 0E0h
  out dx, al
  mov dx, 1F2h
  mov al, 4
  out dx, al
  inc dx
  xor al, al
  out dx, al
  mov dx, 1F7h
  mov al, 20h
  out dx, al
  mov di, 1000h
  mov cx, 200
  mov dx, 1F0h
  cld
  rep insw
  mov al, 0AAh
  mov ah, 0Eh
  int 10h
  hlt
  jmp next`;

/** Guest time that a restored domain gets, ms. */
const LIFE = 6;

let base: Promise<readonly unknown[]> | undefined;

function disk(): Uint8Array {
  const bytes = new Uint8Array(1 << 20);
  bytes.set(assemble(PROGRAM, { origin: 0x7c00, bits: 16 }).code);
  bytes.set([0x55, 0xaa], 510);
  return bytes;
}

/** The frames of a domain that was saved in the middle of things. */
function baseFrames(): Promise<readonly unknown[]> {
  base ??= (async () => {
    const domain = await Domain.create({ hda: disk(), memory: 1, clock: "instructions" });
    domain.start();
    await domain.screen.waitFor(/Booting from the disk/);
    await domain.wait(50);
    return framesOf(await domain.save({ afterwards: "destroy" }));
  })();
  return base;
}

/** A value of the same kind, or now and then of another one. */
function otherValue(random: Random, value: unknown): unknown {
  if (random.oneIn(30)) return random.pick([undefined, null, -1, "", [], {}, new Uint8Array(3), Number.NaN, true]);
  if (typeof value === "number") {
    const near = value + random.pick([-1, 1, 256, -256]);
    return random.pick([
      near,
      -value,
      0,
      255,
      0x7fff_ffff,
      random.u32(),
      -random.u32(),
      value + 0.5,
      1e15,
      2 ** 53,
      -1,
    ]);
  }
  if (typeof value === "boolean") return !value;
  if (typeof value === "string")
    return random.pick(["", `${value}x`, "reading", "writing", "in", "out", "idle", "hda"]);
  if (value instanceof Uint8Array) {
    const copy = random.oneIn(4) ? new Uint8Array(random.below(2 * value.length + 2)) : value.slice();
    for (let n = random.below(20); n > 0 && copy.length > 0; n--) copy[random.below(copy.length)] = random.below(256);
    return copy;
  }
  if (Array.isArray(value)) return random.oneIn(2) ? value.slice(1) : [...value, ...value];
  return value;
}

/** Change one value somewhere below `value`; members are chosen alike. */
function mutate(random: Random, value: unknown): unknown {
  const isTree = typeof value === "object" && value !== null && !ArrayBuffer.isView(value);
  if (!isTree || random.oneIn(40)) return otherValue(random, value);
  if (Array.isArray(value)) {
    if (value.length === 0) return [random.u32()];
    const copy = value.slice();
    const at = random.below(copy.length);
    copy[at] = mutate(random, copy[at]);
    return copy;
  }
  const copy: Record<string, unknown> = { ...value };
  const keys = Object.keys(copy);
  const key = random.pick(keys.length > 0 ? keys : ["new"]);
  if (random.oneIn(50)) delete copy[key];
  else copy[key] = mutate(random, copy[key]);
  return copy;
}

async function mutatedFile(random: Random): Promise<Uint8Array> {
  const frames = [...(await baseFrames())];
  if (random.oneIn(10)) {
    const bytes = await fileOf(frames);
    for (let n = 1 + random.below(4); n > 0; n--) bytes[random.below(bytes.length)] = random.below(256);
    return random.oneIn(2) ? bytes : bytes.subarray(0, random.below(bytes.length));
  }
  for (let n = 1 + random.below(3); n > 0; n--) {
    const at = random.pick([0, 1, 1, 1, 1, 1, 1, random.below(frames.length)]);
    frames[at] = mutate(random, frames[at]);
  }
  return fileOf(frames);
}

export interface SavedResult {
  readonly kind: string;
  readonly defect: string | undefined;
}

/** Restore the file of `seed`, and let what comes of it live for a moment. */
export async function runSaved(seed: number): Promise<SavedResult> {
  const random = new Random(seed);
  const bytes = await mutatedFile(random);
  let domain: Domain;
  try {
    domain = await Domain.restore(bytes, { config: { hda: disk(), serial: "none" }, force: random.oneIn(2) });
  } catch (error) {
    if (error instanceof VmxonError) return { kind: `refused: ${error.code}`, defect: undefined };
    return { kind: "refused", defect: `thrown: ${error instanceof Error ? error.stack : error}` };
  }
  domain.start();
  const life = domain.wait(LIFE).catch(() => {});
  await Promise.race([life, domain.exited]);
  const { kind, message } = await domain.destroy();
  return { kind, defect: /internal error/.test(message) ? message : undefined };
}
