/** xl's disk specifications. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { VmxonError } from "../../src/common/errors.ts";
import { parseDiskSpec } from "../../src/toolstack/disk-spec.ts";

test("positional, keyword and mixed forms mean the same", () => {
  const wanted = { target: "/images/a.img", drive: "hda", kind: "disk", access: "rw" };
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
    const { format, ...rest } = parseDiskSpec(spec);
    assert.deepEqual(rest, wanted, spec);
    assert.ok(format === undefined || format === "raw", spec);
  }
});

test("formats by name, by prefix or not at all; internal snapshots", () => {
  const cases: [string, object][] = [
    ["a.img,,hda", {}],
    ["file:a.img,,hda", {}],
    ["a.img,raw,hda", { format: "raw" }],
    ["a.img,qcow2,hda", { format: "qcow2" }],
    ["qcow2:a.img,,hda", { format: "qcow2" }],
    ["tap:qcow2:a.img,,hda", { format: "qcow2" }],
    ["vdev=hda,format=vhd,target=a.img", { format: "vpc" }],
    ["a.img,vmdk,hda,r", { format: "vmdk", access: "r" }],
    ["a.img,qcow2,hda,snapshot=before", { format: "qcow2", internal: "before" }],
  ];
  for (const [spec, wanted] of cases) {
    assert.deepEqual(
      parseDiskSpec(spec),
      { target: "a.img", drive: "hda", kind: "disk", access: "rw", ...wanted },
      spec,
    );
  }
});

test("target= takes the rest of the string, commas included", () => {
  assert.equal(parseDiskSpec("vdev=hdb,access=r,target=/images/a,b.img").target, "/images/a,b.img");
});

test("access and floppy drives are understood", () => {
  assert.deepEqual(parseDiskSpec("a.img,raw,fda,r"), {
    target: "a.img",
    drive: "fda",
    kind: "floppy",
    access: "r",
    format: "raw",
  });
  assert.equal(parseDiskSpec("a.img,raw,hdc,ro").access, "r");
});

test("CD drives, empty ones too", () => {
  const wanted = { target: "/images/a.iso", drive: "hdc", kind: "cdrom", access: "r" };
  for (const spec of [
    "/images/a.iso,raw,hdc,cdrom",
    "/images/a.iso,,hdc,cdrom",
    "/images/a.iso,raw,hdc,rw,devtype=cdrom",
    "devtype=cdrom, vdev=xvdc, target=/images/a.iso",
    "file:/images/a.iso,,hdc:cdrom,r",
  ]) {
    const { format: _, ...rest } = parseDiskSpec(spec);
    assert.deepEqual(rest, wanted, spec);
  }
  for (const spec of [",raw,hdc,cdrom", "devtype=cdrom,vdev=hdc", ",,hdc:cdrom,r", "cdrom,vdev=hdc,target="]) {
    const { format: _, ...rest } = parseDiskSpec(spec);
    assert.deepEqual(rest, { ...wanted, target: undefined }, spec);
  }
});

test("mistakes are answered with the specification and what to write", () => {
  const cases: [string, RegExp][] = [
    ["a.img,raw,hdz,rw", /no drive "hdz".*Write it as "FILE,raw,hda,rw"/],
    ["a.img,qcow,hda,rw", /format "qcow" is not supported.*Did you mean "qcow2"\?/],
    ["qcow:a.img,,hda,rw", /format "qcow"/],
    ["a.iso,raw,fda,cdrom", /fda is a floppy drive/],
    ["a.iso,raw,hdc,devtype=cdrm", /Did you mean "cdrom"\?/],
    [",raw,hdc", /name of the image file is missing/],
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
