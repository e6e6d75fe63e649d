/** Model-specific registers that kernels read before they can handle the exception of one that is missing. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { readMsr, writeMsr } from "../../src/hypervisor/msrs.ts";
import { createMachine } from "../support/machine.ts";

const { cpu } = createMachine().processor;

test("IA32_MISC_ENABLE neither limits CPUID nor takes execute-disable away, whatever is written", () => {
  const LIMIT_CPUID = 1n << 22n;
  const NO_EXECUTE_DISABLE = 1n << 34n;
  assert.equal(writeMsr(cpu, 0x1a0, LIMIT_CPUID | NO_EXECUTE_DISABLE), true);
  const value = readMsr(cpu, 0x1a0);
  assert.ok(value !== undefined);
  assert.equal(value & (LIMIT_CPUID | NO_EXECUTE_DISABLE), 0n);
  assert.equal(value & 1n, 1n, "fast strings");
});

test("an MSR that there is not cannot be read or written", () => {
  assert.equal(readMsr(cpu, 0x123456), undefined);
  assert.equal(writeMsr(cpu, 0x123456, 0n), false);
});
