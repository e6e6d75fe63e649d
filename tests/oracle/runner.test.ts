/** The native runner: known instructions on the host's processor. Skipped where that is not an x86 Linux. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { FLAG, type TestCase, VECTOR } from "./case.ts";
import { CODE, SCRATCH, USER_CS, USER_DS, WINDOW } from "./layout.ts";
import { openNativeRunner } from "./runner.ts";
import { initialState } from "./x87.ts";

function makeCase(code: number[], registers: number[] = []): TestCase {
  return {
    code: Uint8Array.from(code),
    address: CODE.slot,
    registers: Uint32Array.from({ length: 8 }, (_, i) => registers[i] ?? (i === 4 ? WINDOW.base + 0x80 : 0)),
    eflags: FLAG.IF | 2,
    segments: Uint16Array.of(USER_DS, USER_CS, USER_DS, USER_DS, 0, 0),
    fpu: initialState(),
    window: new Uint8Array(WINDOW.size),
    form: "by hand",
    open: { flags: 0, status: 0, ulps: 0, destination: false, fault: false, memory: undefined },
  };
}

test("the host's processor answers", (t) => {
  const runner = openNativeRunner(makeCase([0x90]));
  if (typeof runner === "string") return t.skip(runner);
  try {
    const [add, push, divide, fetch, hlt, fld1, truncated] = runner.run([
      makeCase([0x01, 0xc8], [0x7fffffff, 1]),
      makeCase([0x50], [0x11223344]),
      makeCase([0xf7, 0xf1]),
      makeCase([0xa1, 0xfe, 0x9f, 0, 0]),
      makeCase([0xf4]),
      makeCase([0xd9, 0xe8]),
      { ...makeCase([0xb8, 1, 2, 3, 4]), address: CODE.base + CODE.size - 2 },
    ]);
    assert.equal(add?.vector, VECTOR.BP);
    assert.equal(add?.registers[0], 0x80000000);
    assert.equal(
      (add?.eflags ?? 0) & (FLAG.OF | FLAG.SF | FLAG.ZF | FLAG.AF | FLAG.PF | FLAG.CF),
      FLAG.OF | FLAG.SF | FLAG.AF | FLAG.PF,
    );
    assert.equal(add?.eip, CODE.slot + 3);
    const top = WINDOW.base + 0x7c;
    assert.deepEqual(
      [...(push?.memory ?? [])],
      [
        [top, 0x44],
        [top + 1, 0x33],
        [top + 2, 0x22],
        [top + 3, 0x11],
      ],
    );
    assert.equal(divide?.vector, VECTOR.DE);
    assert.equal(divide?.eip, CODE.slot);
    assert.deepEqual([fetch?.vector, fetch?.errorCode, fetch?.address], [VECTOR.PF, 4, SCRATCH.base + SCRATCH.size]);
    assert.deepEqual([hlt?.vector, hlt?.errorCode], [VECTOR.GP, 0]);
    assert.deepEqual([...(fld1?.fpu.subarray(28, 38) ?? [])], [0, 0, 0, 0, 0, 0, 0, 0x80, 0xff, 0x3f]);
    assert.deepEqual([truncated?.vector, truncated?.address], [VECTOR.PF, CODE.base + CODE.size]);
  } finally {
    runner.close();
  }
});
