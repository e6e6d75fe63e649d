/** Profiles: every instruction is counted once, on the tier that executed it, and the hottest code is shown. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { profileText } from "../../src/cli/profile-text.ts";
import { assemble } from "../../src/firmware/assembler.ts";
import { HvmDomain } from "../../src/hypervisor/hvm-domain.ts";
import { RunProfile } from "../../src/hypervisor/run-profile.ts";
import { DEFAULT_COMPILER } from "../../src/processor/compiler/compiler.ts";

const ORIGIN = 0x7c00;
const PORT = 0xf4;

/** A loop of a thousand rounds, three instructions each, then off. */
async function run(profile: boolean): Promise<HvmDomain> {
  const domain = new HvmDomain({
    memory: 1 << 20,
    clock: "instructions",
    profile,
    compiler: { ...DEFAULT_COMPILER, threshold: 100, immediate: true },
  });
  const { code } = assemble(`mov ecx, 1000\nagain:\nadd eax, ecx\nxor edx, eax\nloop again\nout ${PORT}, al`, {
    origin: ORIGIN,
    bits: 32,
  });
  const device = { read: () => 0, write: () => domain.powerOff() };
  domain.bus.claimPorts({ name: "off", base: PORT, count: 1, width: 1, device });
  domain.onReset = () => {
    domain.memory.write(ORIGIN, code);
    domain.enter({ mode: "protected", eip: ORIGIN, esp: 0x7000 });
  };
  await domain.run();
  return domain;
}

test("instructions are those of the interpreter and of regions together, and the region's code is shown", async () => {
  const domain = await run(true);
  const profile = domain.profile();
  assert.ok(profile?.compiler);
  assert.equal(profile.interpreted + profile.compiled, domain.instructions());
  assert.ok(profile.compiled >= 2000 && profile.interpreted < 1000, `${profile.compiled} ${profile.interpreted}`);
  assert.equal(profile.compiler.executed, profile.compiled);
  const text = profileText(profile);
  assert.match(text, /^ {2}04007c05 {2}add eax, ecx$/m);
  assert.match(text, /^region0 \{$/m);
});

test("without a profile nothing is measured", async () => {
  const domain = await run(false);
  assert.equal(domain.profile(), undefined);
  assert.equal(domain.processor.compiler?.executed, 0);
});

test("times by tier add up to what was measured, and follow how much each did", () => {
  const profile = new RunProfile();
  profile.stay(30, 1000, 0);
  profile.stay(10, 0, 10_000);
  profile.stay(40, 1000, 10_000);
  profile.slice(100);
  const { interpreting, compiledRunning, inside, outside } = profile.result(undefined);
  assert.ok(Math.abs(interpreting - 60) < 1e-6 && Math.abs(compiledRunning - 20) < 1e-6);
  assert.deepEqual([inside, outside], [80, 20]);
});
