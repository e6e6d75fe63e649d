/**
 * Whether plain data that somebody else wrote has the form of plain data that we made: the same members with the same kinds
 * of values. The template is the state of a machine that was just built, so that each device need not describe its own.
 */

/** Numbers in states are registers, offsets and hours; none is larger. */
const LARGEST = 2 ** 53;
const MOST_ELEMENTS = 1 << 20;

type Kind = "number" | "text" | "flag" | "list" | "nothing" | "record" | `array of ${string}`;

function kindOf(value: unknown): Kind {
  if (typeof value === "number") return "number";
  if (typeof value === "string") return "text";
  if (typeof value === "boolean") return "flag";
  if (value === undefined || value === null) return "nothing";
  if (ArrayBuffer.isView(value)) return `array of ${value.constructor.name}`;
  return Array.isArray(value) ? "list" : "record";
}

/** Where a value of the form stands, for messages: "ide0.devices.1.count". */
const inside = (path: string, key: string | number): string => (path === "" ? `${key}` : `${path}.${key}`);

/** What `value` has that a state cannot have, whatever its form; undefined when nothing. */
function plainProblem(value: unknown, path: string): string | undefined {
  if (typeof value === "number") {
    return Math.abs(value) <= LARGEST ? undefined : `${path} is ${value}, which is no number of a state`;
  }
  if (typeof value !== "object" || value === null || ArrayBuffer.isView(value)) return undefined;
  if (Array.isArray(value) && value.length > MOST_ELEMENTS) return `${path} has ${value.length} elements`;
  for (const [key, member] of Object.entries(value)) {
    const problem = plainProblem(member, inside(path, key));
    if (problem !== undefined) return problem;
  }
  return undefined;
}

/**
 * What keeps `value` from having the form of `template`, with the place; undefined when it has it. Lists may be longer or
 * shorter; what is undefined in the template may be anything that is plain.
 */
export function shapeProblem(value: unknown, template: unknown, path: string): string | undefined {
  const wanted = kindOf(template);
  if (wanted === "nothing") return plainProblem(value, path);
  const kind = kindOf(value);
  if (kind !== wanted) {
    // A part that is not there: the machine of the state has none.
    if (kind === "nothing" && wanted === "record" && /\.\d+$/.test(path)) return undefined;
    return `${path} is ${kind === "nothing" ? "missing" : `a ${kind}`}, where a ${wanted} is expected`;
  }
  if (wanted === "list") return listProblem(value as unknown[], template as unknown[], path);
  if (wanted === "record") return recordProblem(value as object, template as object, path);
  return plainProblem(value, path);
}

function listProblem(value: readonly unknown[], template: readonly unknown[], path: string): string | undefined {
  if (value.length > MOST_ELEMENTS) return `${path} has ${value.length} elements`;
  for (const [i, member] of value.entries()) {
    const problem = shapeProblem(member, template[Math.min(i, template.length - 1)], inside(path, i));
    if (problem !== undefined) return problem;
  }
  return undefined;
}

function recordProblem(value: object, template: object, path: string): string | undefined {
  for (const key of Object.keys(template)) {
    if (!Object.hasOwn(value, key)) return `${inside(path, key)} is missing`;
  }
  for (const [key, member] of Object.entries(value)) {
    if (!Object.hasOwn(template, key)) return `${inside(path, key)} is unknown here`;
    const problem = shapeProblem(member, (template as Record<string, unknown>)[key], inside(path, key));
    if (problem !== undefined) return problem;
  }
  return undefined;
}
