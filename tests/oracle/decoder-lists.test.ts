/** The readers of the decoder lists on lines of each kind. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { readDecoderList, readInfoList } from "./decoder-lists.ts";

test("a line's bytes, operands, prefixes and options are read", () => {
  const [add, jump, far, cut] = readDecoderList(
    [
      "# comment",
      "F0 81 44 98 A5 12345678, Add_rm32_imm32, Add, 2, op0=m;ss;eax;ebx;4;0xFFFFFFA5;1;UInt32 op1=i32;0x78563412 lock",
      "70 5A, Jo_rel8_32, Jo, 1, op0=nb32;0x8000004C",
      "9A 12345678 9ABC, Call_ptr1632, Call, 1, op0=fb32;0xBC9A;0x78563412 decopt=AMD",
      "01, INVALID, INVALID, 0, code=Add_rm32_r32 err=NoMoreBytes",
    ].join("\n"),
    32,
  );
  assert.deepEqual([...(add?.bytes ?? [])], [0xf0, 0x81, 0x44, 0x98, 0xa5, 0x12, 0x34, 0x56, 0x78]);
  assert.deepEqual(add?.operands, [
    {
      kind: "memory",
      segment: "ss",
      base: "eax",
      index: "ebx",
      scale: 4,
      displacement: 0xffffffa5,
      displacementSize: 1,
      type: "UInt32",
    },
    { kind: "immediate", value: 0x78563412, type: "i32" },
  ]);
  assert.ok(add?.words.has("lock"));
  assert.deepEqual(jump?.operands, [{ kind: "near", target: 0x8000004c }]);
  assert.deepEqual(far?.operands, [{ kind: "far", selector: 0xbc9a, offset: 0x78563412 }]);
  assert.deepEqual(far?.options, ["AMD"]);
  assert.ok(cut?.truncated);
});

test("a line's flags are read", () => {
  const [adc] = readInfoList("11 18, Adc_rm32_r32, Legacy, INTEL386, fr=c fw=oszap fc=c fu=a op0=rw", 32);
  assert.equal(adc?.read, 0x001);
  assert.equal(adc?.written, 0x8d5);
  assert.equal(adc?.undefined, 0x010);
  assert.deepEqual(adc?.features, ["INTEL386"]);
});
