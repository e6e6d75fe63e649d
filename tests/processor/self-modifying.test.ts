/** Code that changes under the processor: by its own stores, by those of others, through aliases, across pages. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { DomainMemory } from "../../src/hypervisor/domain-memory.ts";
import { DomainIoBus } from "../../src/hypervisor/io-bus.ts";
import { AT, Guest } from "./guest.ts";

const INC_ECX = 0x41;
const INC_EAX = 0x40;

test("a store into the next instruction of the same block takes effect at once", () => {
  const guest = new Guest();
  guest.load(AT.code, `mov byte [target], ${INC_ECX}\ntarget: inc eax\nhlt`);
  assert.equal(guest.run().kind, "halt");
  assert.deepEqual([guest.get("eax"), guest.get("ecx")], [0, 1]);
});

test("a store into an instruction already passed takes effect the next time round", () => {
  const guest = new Guest();
  guest.load(AT.code, `mov edx, 2\nagain: inc eax\nmov byte [again], ${INC_ECX}\ndec edx\njnz again\nhlt`);
  assert.equal(guest.run().kind, "halt");
  assert.deepEqual([guest.get("eax"), guest.get("ecx")], [1, 1]);
});

test("a store into code of another page that ran before takes effect", () => {
  const guest = new Guest();
  const other = AT.code + 0x3000;
  guest.load(other, "inc eax\nret");
  guest.load(AT.code, `call ${other}\nmov byte [${other}], ${INC_ECX}\ncall ${other}\nhlt`);
  assert.equal(guest.run().kind, "halt");
  assert.deepEqual([guest.get("eax"), guest.get("ecx")], [1, 1]);
});

test("a store into the second page of an instruction that crosses a page boundary takes effect", () => {
  const guest = new Guest();
  const crossing = AT.code + 0x4000 - 2;
  guest.load(crossing, "mov eax, 0x11111111\nret");
  guest.load(AT.code, `call ${crossing}\nmov ebx, eax\nmov byte [${crossing + 4}], 0x22\ncall ${crossing}\nhlt`);
  assert.equal(guest.run().kind, "halt");
  assert.equal(guest.get("ebx"), 0x11111111);
  assert.equal(guest.get("eax"), 0x22111111);
});

test("a store that straddles two pages of code invalidates both", () => {
  const guest = new Guest();
  const boundary = AT.code + 0x5000;
  guest.bytes(boundary - 2, INC_EAX, INC_EAX, INC_EAX, INC_EAX, 0xc3);
  guest.load(
    AT.code,
    `call ${boundary - 2}\nmov dword [${boundary - 2}], ${INC_ECX * 0x01010101}\ncall ${boundary - 2}\nhlt`,
  );
  assert.equal(guest.run().kind, "halt");
  assert.deepEqual([guest.get("eax"), guest.get("ecx")], [4, 4]);
});

test("a store through another linear address of the same page takes effect", () => {
  const guest = new Guest();
  const setPage = guest.page();
  const code = AT.code + 0x6000;
  const alias = 0x3c0000;
  setPage(alias, code | 7);
  guest.load(code, "inc eax\nret");
  guest.load(AT.code, `call ${code}\nmov byte [${alias}], ${INC_ECX}\ncall ${code}\ncall ${alias}\nhlt`);
  assert.equal(guest.run().kind, "halt");
  assert.deepEqual([guest.get("eax"), guest.get("ecx")], [1, 2]);
});

test("a string store over code takes effect", () => {
  const guest = new Guest();
  const code = AT.code + 0x7000;
  guest.bytes(code, ...new Array(200).fill(INC_EAX), 0xc3);
  guest.load(
    AT.code,
    `call ${code}\nmov edi, ${code}\nmov ecx, 200\nmov al, ${0x43}\nmov ebx, 0\nrep stosb\ncall ${code}\nhlt`,
  );
  assert.equal(guest.run().kind, "halt");
  assert.equal(guest.get("ebx"), 200);
});

test("a device's write to code takes effect at the next entry", () => {
  const guest = new Guest();
  const memory = new DomainMemory(guest.cpu, new DomainIoBus(), guest.machine.memory.length);
  const labels = guest.load(AT.code, "again: inc eax\njmp again");
  const again = labels.get("again")!;
  guest.run(10);
  assert.equal(guest.get("eax"), 5);
  memory.write(again, Uint8Array.of(INC_ECX));
  guest.run(10);
  assert.deepEqual([guest.get("eax"), guest.get("ecx")], [5, 5]);
  memory.write8(again, INC_EAX);
  guest.run(10);
  assert.deepEqual([guest.get("eax"), guest.get("ecx")], [10, 5]);
});

test("a page that held code becomes data again, and code once more", () => {
  const guest = new Guest();
  const page = AT.code + 0x8000;
  guest.load(page, "inc eax\nret");
  guest.load(
    AT.code,
    `call ${page}
    mov ecx, 1000
    fill: mov [${page} + ecx*4 - 4], ecx
    dec ecx
    jnz fill
    mov ebx, [${page + 400}]
    mov dword [${page}], ${(0xc3 << 8) | INC_EAX}
    call ${page}
    hlt`,
  );
  assert.equal(guest.run().kind, "halt");
  assert.equal(guest.get("ebx"), 101);
  assert.equal(guest.get("eax"), 2);
});

test("a block cut short by the preemption timer sees its own stores", () => {
  for (let first = 1; first <= 5; first++) {
    const guest = new Guest();
    guest.load(AT.code, `nop\nmov byte [target], ${INC_ECX}\ntarget: inc eax\ninc edx\ninc edx\ninc edx\nhlt`);
    guest.run(first);
    assert.equal(guest.run().kind, "halt");
    assert.deepEqual([guest.get("eax"), guest.get("ecx"), guest.get("edx")], [0, 1, 3], `cut after ${first}`);
  }
});

test("data in the same page as code can be written while the code runs", () => {
  const guest = new Guest();
  const labels = guest.load(
    AT.code,
    `mov ecx, 500
    again: inc dword [counter]
    dec ecx
    jnz again
    hlt
    counter: dd 0`,
  );
  assert.equal(guest.run().kind, "halt");
  assert.equal(guest.dword(labels.get("counter")!), 500);
});
