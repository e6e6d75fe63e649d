/** Deep copies of plain data: what device states are made of. */

/**
 * A copy of `value` that shares nothing with it. `value` may hold numbers, strings, booleans, undefined, arrays, typed
 * arrays and plain records.
 */
export function copyPlain<T>(value: T): T {
  if (typeof value !== "object" || value === null) return value;
  if (ArrayBuffer.isView(value)) return (value as unknown as Uint8Array).slice() as unknown as T;
  if (Array.isArray(value)) return value.map(copyPlain) as T;
  const copy: Record<string, unknown> = {};
  for (const [key, member] of Object.entries(value)) copy[key] = copyPlain(member);
  return copy as T;
}
