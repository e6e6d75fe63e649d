/** What `vmxon run --profile` prints: time and work by tier, what was compiled, and the hottest regions with their code. */
import type { DomainProfile } from "../hypervisor/run-profile.ts";

/** Regions listed, and of how many the code is shown. */
const LISTED = 30;
const SHOWN = 5;

const cell = (text: string | number, width = 14): string => String(text).padStart(width);
const ms = (value: number): string => `${value.toFixed(0)} ms`;
const millions = (value: number): string => `${(value / 1e6).toFixed(2)} M`;
const ratio = (a: number, b: number, digits = 1): string => (b > 0 ? (a / b).toFixed(digits) : "-");

/** The profile as text. */
export function profileText(profile: DomainProfile): string {
  const { compiler } = profile;
  const lines = [
    `${"tier".padEnd(12)}${["time", "instructions", "MIPS", "entries", "each"].map((head) => cell(head)).join("")}`,
  ];
  const tier = (name: string, time: number, instructions: number, entries: number): void => {
    const cells = [
      ms(time),
      millions(instructions),
      ratio(instructions / 1000, time, 0),
      millions(entries),
      ratio(instructions, entries),
    ];
    lines.push(`${name.padEnd(12)}${cells.map((text) => cell(text)).join("")}`);
  };
  tier("interpreter", profile.interpreting, profile.interpreted, profile.stays);
  tier("regions", profile.compiledRunning, profile.compiled, compiler?.entries ?? 0);
  lines.push(`${"outside".padEnd(12)}${cell(ms(profile.outside))}  exits, devices, timers, compiling`);
  if (!compiler) return `${lines.join("\n")}\n`;
  const { regions, modules, bytes, instructions, kept, dropped, evicted, milliseconds, elsewhere, installed } =
    compiler;
  lines.push(
    "",
    `compiled: ${regions} regions in ${modules} modules, ${ratio(bytes, instructions)} bytes of WebAssembly per guest ` +
      `instruction, ${(kept / 1e6).toFixed(2)} MB kept; generated in ${ms(milliseconds)}, and ${ms(elsewhere)} on another thread`,
    `dropped: ${dropped} because their code was written to, ${evicted} to make room`,
    "",
    `${cell("instructions")}${cell("part", 8)}${cell("entries")}${cell("each", 10)}${cell("length", 8)}${cell("bytes/i", 9)}  machine`,
  );
  const hottest = [...installed].sort((a, b) => b.executed - a.executed).slice(0, LISTED);
  for (const region of hottest) {
    const cells = [
      cell(millions(region.executed)),
      cell(`${ratio(region.executed * 100, profile.compiled)} %`, 8),
      cell(millions(region.entries)),
      cell(ratio(region.executed, region.entries), 10),
      cell(region.instructions, 8),
      cell(ratio(region.bytes, region.instructions), 9),
    ];
    lines.push(`${cells.join("")}  ${region.machine.toString(16)}`);
  }
  for (const region of hottest.slice(0, SHOWN)) {
    lines.push("", `region at ${region.machine.toString(16)}:`, ...region.guest(), ...region.generated());
  }
  return `${lines.join("\n")}\n`;
}
