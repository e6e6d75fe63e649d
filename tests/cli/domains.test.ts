/** One command reaches the domain that another one runs: list, save, and restore from the file. */
import assert from "node:assert/strict";
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from "node:fs";
import { createConnection } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { fileURLToPath } from "node:url";
import { assemble } from "../../src/firmware/assembler.ts";

const COMMAND = fileURLToPath(new URL("../../../bin/vmxon", import.meta.url));
const folder = mkdtempSync(join(tmpdir(), "vmxon-cli-"));
const env = { ...process.env, XDG_RUNTIME_DIR: folder };
const sockets = join(folder, "vmxon");
after(() => rmSync(folder, { recursive: true }));

/** Says "ready", and each key that is pressed. */
const PROGRAM = `
  mov si, text
more:
  lodsb
  test al, al
  jz keys
  call put
  jmp more
keys:
  xor ax, ax
  int 16h
  call put
  jmp keys
put:
  mov ah, 0Eh
  int 10h
  ret
text:
  db "ready ", 0`;

function image(): string {
  const path = join(folder, "program.img");
  const sector = new Uint8Array(512);
  sector.set(
    assemble(PROGRAM.replace('"ready ", 0', "72h, 65h, 61h, 64h, 79h, 20h, 0"), { origin: 0x7c00, bits: 16 }).code,
  );
  sector.set([0x55, 0xaa], 510);
  writeFileSync(path, sector);
  return path;
}

function vmxon(...args: string[]) {
  const { status, stdout, stderr } = spawnSync(process.execPath, [COMMAND, ...args], { encoding: "utf8", env });
  return { status, stdout, stderr };
}

interface Running {
  readonly child: ChildProcess;
  output: string;
  readonly ended: Promise<number | null>;
}

function start(...args: string[]): Running {
  const child = spawn(process.execPath, [COMMAND, ...args], { env, stdio: ["ignore", "pipe", "pipe"] });
  const running: Running = { child, output: "", ended: new Promise((resolve) => child.on("close", resolve)) };
  for (const stream of [child.stdout, child.stderr])
    stream.on("data", (data: Buffer) => {
      running.output += data.toString();
    });
  return running;
}

/** Wait until the list shows a domain of that name. */
async function listed(name: string): Promise<string> {
  for (let tries = 0; tries < 100; tries++) {
    const line = vmxon("list")
      .stdout.split("\n")
      .find((row) => row.startsWith(`${name} `));
    if (line) return line;
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  throw new Error(`${name} never came up`);
}

/** Send a line to a socket; the answer. */
function ask(socket: string, line: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const connection = createConnection(join(sockets, socket), () => connection.write(`${line}\n`));
    connection.on("data", (data) => {
      resolve(data.toString());
      connection.end();
    });
    connection.on("error", reject);
  });
}

test("a domain is listed, saved and restored", { skip: process.getuid === undefined }, async () => {
  const program = image();
  const first = start("run", program, "-snapshot", "--name=first", "--screen=text", "-m", "4");
  assert.match(await listed("first"), /^first +1 +4 +1 +r-----/);
  const second = start("run", program, "-snapshot", "--name=second", "--screen=none", "-m", "4");
  await listed("second");
  assert.equal(statSync(sockets).mode & 0o777, 0o700);
  for (const name of readdirSync(sockets)) assert.equal(statSync(join(sockets, name)).mode & 0o777, 0o600);

  for (const [line, answer] of [
    ["nonsense", /"id":null,"error":\{"code":-32700/],
    ['{"id":1,"method":"fly"}', /-32601,"message":"there is no method fly"/],
    ['{"id":2,"method":"save","params":{"file":"relative"}}', /"id":2,"error":.*absolute file name/],
    ['{"id":3,"method":"constructor"}', /-32601/],
    ['{"id":4,"method":"list"}', /"id":4,"result":\{"name":"first","state":"running","memory":4/],
  ] as const)
    assert.match(await ask("1.sock", line), answer);

  const saved = join(folder, "first.sav");
  assert.deepEqual(vmxon("save", "-c", "1", saved), { status: 0, stdout: "", stderr: "" });
  await listed("first");
  assert.equal(vmxon("save", "first", saved).status, 0);
  assert.equal(await first.ended, 0, first.output);
  assert.match(first.output, /ready/);
  assert.equal(statSync(saved).mode & 0o777, 0o600);
  assert.deepEqual(
    readdirSync(folder).filter((name) => name.endsWith(".part")),
    [],
  );

  const restored = vmxon("restore", saved, "--screen=text", "--type", "on", "--expect", "ready on");
  assert.equal(restored.status, 0, restored.stderr);
  assert.match(restored.stdout, /ready on/);

  assert.match(vmxon("save", "first", saved).stderr, /there is no domain first\. Running: second \(2\)/);
  assert.equal(vmxon("save", "second", join(folder, "no", "such", "folder")).status, 1);
  // What a killed process leaves is nobody's, and gives way.
  second.child.kill("SIGKILL");
  await second.ended;
  assert.equal(vmxon("list").stdout.split("\n").length, 2);
  const third = start("run", program, "-snapshot", "--name=third", "--screen=none", "-m", "4");
  await listed("third");
  third.child.kill();
  await third.ended;
});

test("a saved domain that cannot be restored is named, with what is wrong", () => {
  const path = join(folder, "wrong.sav");
  writeFileSync(path, "vmxonsav\x01\0\0\0 and then no gzip");
  for (const [args, message, status] of [
    [["restore"], /name one saved domain\. Type: vmxon restore FILE/, 2],
    [["restore", join(folder, "none.sav")], /none\.sav: cannot open it: there is no such file/, 1],
    [["restore", folder], /it is a folder/, 1],
    [["restore", path], /wrong\.sav: the saved domain is damaged or cut off/, 1],
    [["save", "one"], /Type: vmxon save DOMAIN FILE/, 2],
    [["save", "-x", "one", "file"], /unknown option -x/, 2],
  ] as const) {
    const result = vmxon(...args);
    assert.match(result.stderr, message);
    assert.equal(result.status, status, result.stderr);
  }
});
