/** xl's disk specifications. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { VmxonError } from "../../src/common/errors.ts";
import { parseDiskSpec } from "../../src/toolstack/disk-spec.ts";

test("positional, keyword and mixed forms mean the same", () => {
  const wanted = { target: "/images/a.img", drive: "hda", access: "rw" };
  for (const spec of [
    "/images/a.img,raw,hda,rw",
    "/images/a.img, raw, hda, w",
    "/images/a.img,,hda",
    "/images/a.img,raw,xvda,rw",
    "format=raw, vdev=hda, access=rw, target=/images/a.img",
    "vdev=hda, /images/a.img, raw",
    "file:/images/a.img,,hda,rw",
    "raw:/images/a.img,,hda,w",
  ]) {
    assert.deepEqual(parseDiskSpec(spec), wanted, spec);
  }
});

test("target= takes the rest of the string, commas included", () => {
  assert.equal(parseDiskSpec("vdev=hdb,access=r,target=/images/a,b.img").target, "/images/a,b.img");
});

test("access and floppy drives are understood", () => {
  assert.deepEqual(parseDiskSpec("a.img,raw,fda,r"), { target: "a.img", drive: "fda", access: "r" });
  assert.equal(parseDiskSpec("a.img,raw,hdc,ro").access, "r");
});

test("mistakes are answered with the specification and what to write", () => {
  const cases: [string, RegExp][] = [
    ["a.img,raw,hdz,rw", /no drive "hdz".*Write it as "FILE,raw,hda,rw"/],
    ["a.img,qcow2,hda,rw", /format "qcow2" is not supported yet.*qemu-img convert/],
    ["qcow2:a.img,,hda,rw", /format "qcow2"/],
    ["a.iso,,hdc,cdrom", /CD-ROM drives are not supported yet/],
    [",hdc:cdrom,r", /CD-ROM|drive/],
    ["a.img", /drive is missing/],
    ["vdev=hda", /name of the image file is missing/],
    ["a.img,raw,hda,x", /access "x"/],
    ["a.img,raw,hda,rw,more", /one parameter too many/],
    ["fromat=raw,vdev=hda,target=x", /unknown parameter "fromat"\. Did you mean "format"\?/],
  ];
  for (const [spec, message] of cases) {
    assert.throws(
      () => parseDiskSpec(spec),
      (error) =>
        error instanceof VmxonError && error.message.includes(JSON.stringify(spec)) && message.test(error.message),
      spec,
    );
  }
});
