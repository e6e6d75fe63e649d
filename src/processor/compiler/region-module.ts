/**
 * A WebAssembly module that holds compiled regions: what it imports from the interpreter's instance, and the small
 * functions that its regions share.
 */
import { FAST, type FastName, fastExport } from "../../isa/x87/fast.ts";
import { call, i32, type Value } from "../../wasm/expression.ts";
import { FunctionWriter } from "../../wasm/function.ts";
import { type FunctionReference, type FunctionType, ModuleWriter } from "../../wasm/module.ts";
import { findBlock } from "../interpreter/block-hash.ts";
import { BLOCK_HASH, HASH_CODE, RETURN_STACKS, RETURNS } from "../memory-map.ts";
import { hostAddress } from "../shadow.ts";

/** What a WebAssembly memory can have at most, in 64 KiB pages: the module fits a domain of any size. */
const MAX_MEMORY_PAGES = 65536;

/** How far below the latest call a return's is looked for. */
const RETURN_SEARCH = 3;
const RETURNS_MASK = (RETURNS.entries - 1) << RETURNS.recordShift;

/** Address of the ring of return addresses of a mode, and that of the offset of the latest one in it. */
export function returnStack(mode: number): { readonly ring: number; readonly top: number } {
  const ring = RETURN_STACKS + mode * RETURNS.stride;
  return { ring, top: ring + RETURNS.top };
}

/** Offset of the record above or below one in a ring of return addresses. */
export function pushed(top: Value): Value {
  return i32.and(i32.add(top, 1 << RETURNS.recordShift), RETURNS_MASK);
}
export function popped(top: Value): Value {
  return i32.and(i32.sub(top, 1 << RETURNS.recordShift), RETURNS_MASK);
}

const types = (count: number): "i32"[] => new Array<"i32">(count).fill("i32");

export class RegionModule {
  readonly #module = new ModuleWriter({ late: true });
  readonly #imports = new Map<string, FunctionReference>();
  readonly #lookups = new Map<string, FunctionReference>();
  readonly #returns = new Map<FunctionReference, FunctionReference>();
  #regions = 0;

  constructor() {
    this.#module.importMemory("env", "memory", 1, MAX_MEMORY_PAGES);
  }

  /** A function of the interpreter's instance, by its export name. */
  importFunction(name: string, type: FunctionType): FunctionReference {
    let reference = this.#imports.get(name);
    if (!reference) {
      reference = this.#module.importFunction("env", name, type);
      this.#imports.set(name, reference);
    }
    return reference;
  }

  /** The same for a function of i32s. */
  importI32(name: string, params: number, results = 1): FunctionReference {
    return this.#imports.get(name) ?? this.importFunction(name, { params: types(params), results: types(results) });
  }

  /** Names of what the module imports besides its memory. */
  get importNames(): Iterable<string> {
    return this.#imports.keys();
  }

  /** A function of isa/x87/fast.ts. */
  fast(name: FastName): FunctionReference {
    return this.importFunction(fastExport(name), FAST[name].type);
  }

  /** (eip) → compiled code that starts there in flat code of mode `mode`, or 0. */
  lookup(mode: number, executeTable: number): FunctionReference {
    const key = `${mode}:${executeTable}`;
    let reference = this.#lookups.get(key);
    if (reference) return reference;
    reference = this.#module.declare({ params: ["i32"], results: ["i32"] });
    this.#lookups.set(key, reference);
    const f = new FunctionWriter(reference.type);
    const host = f.let(hostAddress(i32.const(executeTable), f.params[0]!.get));
    f.if(i32.ltS(host, 0), () => f.return(0));
    const slot = findBlock(f, host, mode, () => f.return(0));
    f.result(i32.load(slot, BLOCK_HASH + HASH_CODE));
    this.#module.define(reference, f.finish(), f.relocations);
    return reference;
  }

  /** (eip) → the same for the target of a return that the latest call did not announce. */
  lookupReturn(mode: number, executeTable: number): FunctionReference {
    const lookup = this.lookup(mode, executeTable);
    const known = this.#returns.get(lookup);
    if (known) return known;
    const reference = this.#module.declare(lookup.type);
    this.#returns.set(lookup, reference);
    const f = new FunctionWriter(reference.type);
    const eip = f.params[0]!.get;
    const { ring, top } = returnStack(mode);
    const at = f.temporary("i32");
    f.set(at, i32.load(top));
    // Calls that never returned, or whose return was interpreted, lie on top of it.
    for (let i = 0; i < RETURN_SEARCH; i++) {
      f.set(at, popped(at.get));
      f.if(i32.eq(i32.load(at.get, ring), eip), () => {
        f.store32(top, popped(at.get));
        f.return(i32.load(at.get, ring + 4));
      });
    }
    f.store32(top, popped(i32.load(top)));
    f.result(call(lookup, eip));
    this.#module.define(reference, f.finish(), f.relocations);
    return reference;
  }

  /** Reserve the function of one more region: (code) → next. */
  declareRegion(): FunctionReference {
    return this.#module.declare({ params: ["i32"], results: ["i32"] }, `region${this.#regions++}`);
  }

  define(reference: FunctionReference, f: FunctionWriter): void {
    this.#module.define(reference, f.finish(), f.relocations, f.unlikelyPlaces);
  }

  finish(): Uint8Array<ArrayBuffer> {
    return this.#module.finish();
  }
}
