/** The ROM's guest code, run by the processor: POST, interrupts, hooks, waits, resets. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { bootDiskette, type Guest, runGuest, screenText, tap } from "./guest.ts";

/** `hook vector, label` in assembly. */
const hook = (vector: string, label: string): string => `
  mov word [${vector} * 4], ${label}
  mov [${vector} * 4 + 2], cs
`;

test("POST shows its banner, finds the diskette and starts its boot sector", async () => {
  const guest = await runGuest(`
    mov al, dl
    add al, 'A'
    call put
    call off
  `);
  assert.equal(guest.output, "A");
  assert.equal(guest.reason?.kind, "poweroff");
  assert.match(
    screenText(guest),
    /^vmxon BIOS\nMemory: 639 KB base, 3072 KB extended\n[\s\S]*Booting from the diskette/,
  );
});

test("without a boot disk the BIOS says so, waits for a key and tries again", async () => {
  const real = bootDiskette("mov al, 'B'\ncall put\ncall off");
  let inserted = false;
  const guest = await runGuest("", {
    drive: { medium: undefined, changed: false },
    watch: (g) => {
      if (!/No bootable device/.test(screenText(g))) return false;
      g.drive.medium = real.medium;
      inserted = true;
      tap(g, "Enter");
      return true;
    },
  });
  assert.ok(inserted);
  assert.equal(guest.output, "B");
});

test("INT 8 counts 18.2 ticks a second, calls INT 1Ch and turns the day over", async () => {
  const guest = await runGuest(`
    ${hook("1Ch", "tick")}
    mov word [46Eh], 18h
    mov word [46Ch], 0AEh
    mov byte [470h], 0
    wait_day:
    hlt
    cmp byte [470h], 1
    jne wait_day
    cmp word [46Eh], 0
    jne fail
    mov cx, 18
    more:
    mov ax, [46Ch]
    same:
    hlt
    cmp ax, [46Ch]
    je same
    loop more
    mov al, 'T'
    call put
    call off
    tick: push ax
    mov al, '.'
    call put
    pop ax
    iret
  `);
  assert.match(guest.output, /^\.{19,22}T$/);
  const first = guest.times[0]!;
  const last = guest.times[18]!;
  assert.ok(Math.abs((last - first) / 18 - 54.925) < 0.1, `${(last - first) / 18} ms a tick`);
});

test("INT 9 lets INT 15h/4Fh hooks change and swallow keys", async () => {
  const guest = await runGuest(
    `
    mov eax, [15h * 4]
    mov [old], eax
    ${hook("15h", "intercept")}
    mov al, '?'
    call put
    mov ah, 0
    int 16h
    call put
    mov ah, 0
    int 16h
    call put
    call off
    intercept:
    cmp ah, 4Fh
    jne chain
    cmp al, 2Ch
    je swallow
    cmp al, 1Fh
    jne chain
    mov al, 1Eh
    chain: cs jmp far [old]
    swallow:
    push bp
    mov bp, sp
    and byte [bp + 6], 0FEh
    pop bp
    iret
    old: dd 0
  `,
    { on: (c, g) => c === "?" && tap(g, "KeyZ", "KeyS", "KeyZ", "KeyX") },
  );
  assert.equal(guest.output, "?ax");
});

test("Ctrl-Break empties the buffer and calls INT 1Bh; Print Screen calls INT 5", async () => {
  const press = (c: string, g: Guest): void => {
    if (c === "?") {
      tap(g, "KeyA");
      g.pc.keyboard.key("ControlLeft", true);
      tap(g, "Pause");
      g.pc.keyboard.key("ControlLeft", false);
    } else if (c === "^") tap(g, "PrintScreen");
  };
  const guest = await runGuest(
    `
    ${hook("1Bh", "break")}
    ${hook("5", "print")}
    mov al, '?'
    call put
    wait_print: hlt
    cmp byte [printed], 1
    jne wait_print
    mov ah, 0
    int 16h
    or ax, ax
    jnz fail
    mov ah, 1
    int 16h
    jnz fail
    mov al, [471h]
    shr al, 7
    add al, '0'
    call put
    call off
    break: push ax
    mov al, '^'
    call put
    pop ax
    iret
    print: push ax
    mov al, 'P'
    call put
    inc byte [cs:printed]
    pop ax
    iret
    printed: db 0
  `,
    { on: press },
  );
  assert.equal(guest.output, "?^P1");
});

test("Pause halts the program until a key, which is swallowed", async () => {
  const guest = await runGuest(
    `
    mov al, '?'
    call put
    mov ah, 0
    int 16h
    call put
    call off
  `,
    { on: (c, g) => c === "?" && tap(g, "Pause", "KeyW", "KeyV") },
  );
  assert.equal(guest.output, "?v");
});

test("lock keys switch the LEDs from within INT 9", async () => {
  const guest = await runGuest(
    `
    mov al, '?'
    call put
    mov ah, 0
    int 16h
    call put
    call off
  `,
    { on: (c, g) => c === "?" && tap(g, "CapsLock", "NumLock", "KeyA") },
  );
  assert.equal(guest.output, "?A");
  assert.equal(guest.pc.keyboard.leds, 6);
});

test("a program that waits for a key halts: hardly an instruction is executed", async () => {
  let before = 0;
  let after = 0;
  let start = 0;
  const watch = (g: Guest): boolean => {
    const now = g.domain.clock.now() / 1e6;
    if (g.output === "") return false;
    if (before === 0) {
      before = g.domain.instructions();
      start = now;
    }
    if (now - start < 1000) return false;
    after = g.domain.instructions();
    tap(g, "KeyA");
    return true;
  };
  for (const program of ["mov ah, 0\nint 16h", "poll: mov ah, 1\nint 16h\njz poll"]) {
    before = 0;
    const guest = await runGuest(`mov al, '?'\ncall put\n${program}\ncall off`, { watch });
    assert.equal(guest.reason?.kind, "poweroff");
    assert.ok(after - before < 60_000, `${after - before} instructions in a second`);
  }
});

test("INT 15h/86h waits, INT 15h/83h posts, INT 4Ah rings", async () => {
  const guest = await runGuest(`
    ${hook("4Ah", "alarm")}
    mov al, 'a'
    call put
    mov ah, 86h
    mov cx, 1
    xor dx, dx
    int 15h
    jc fail
    mov al, 'b'
    call put
    mov ax, 8300h
    xor cx, cx
    mov dx, 20000
    mov bx, flag
    int 15h
    jc fail
    posted: hlt
    test byte [flag], 80h
    jz posted
    mov al, 'c'
    call put
    mov ah, 6
    mov cx, 0FFFFh
    mov dx, 0FF00h
    int 1Ah
    jc fail
    ring: hlt
    cmp byte [rung], 1
    jb ring
    call off
    alarm: push ax
    mov al, '@'
    call put
    inc byte [cs:rung]
    pop ax
    iret
    flag: db 0
    rung: db 0
  `);
  assert.equal(guest.output, "abc@");
  const [a, b, c, ring] = guest.times as [number, number, number, number];
  assert.ok(b - a > 64 && b - a < 69, `${b - a} ms for 65.5`);
  assert.ok(c - b > 19 && c - b < 22, `${c - b} ms for 20`);
  assert.ok(ring - c <= 1001);
});

test("INT 74h hands the mouse's packets to the program's handler", async () => {
  const guest = await runGuest(
    `
    mov ax, 0C205h
    mov bh, 3
    int 15h
    jc fail
    mov ax, 0C207h
    mov bx, moved
    int 15h
    jc fail
    mov ax, 0C200h
    mov bh, 1
    int 15h
    jc fail
    mov al, '?'
    call put
    more: hlt
    cmp byte [packets], 2
    jb more
    call off
    moved: push bp
    mov bp, sp
    push ax
    mov al, [bp + 12]
    and al, 0Fh
    add al, '0'
    call put
    mov al, [bp + 10]
    add al, 'a'
    call put
    mov al, [bp + 8]
    add al, 'a'
    call put
    inc byte [cs:packets]
    pop ax
    pop bp
    retf
    packets: db 0
  `,
    {
      on: (_c, g) => {
        if (g.output === "?") g.pc.mouse.move(3, 2, 0, 1);
        else if (g.output.length === 4) g.pc.mouse.move(1, 4, 0, 0);
      },
    },
  );
  // Status, X and Y of two packets; Y counts upwards, so that 2 down is FEh.
  assert.equal(guest.output, "?9d_8b]");
});

test("a reset with shutdown code 0Ah goes on at 40:67h with memory as it was", async () => {
  const guest = await runGuest(`
    mov al, '1'
    call put
    mov word [467h], resumed
    mov word [469h], 0
    mov word [2000h], 1234h
    mov al, 0Fh
    out 70h, al
    mov al, 0Ah
    out 71h, al
    mov al, 0FEh
    out 64h, al
    spin: jmp spin
    resumed:
    xor ax, ax
    mov ss, ax
    mov sp, 7000h
    mov ds, ax
    cmp word [2000h], 1234h
    jne fail
    mov al, '2'
    call put
    call off
  `);
  assert.equal(guest.output, "12");
});

test("Ctrl-Alt-Del starts the machine anew, as a warm boot", async () => {
  const guest = await runGuest(
    `
    mov al, 'w'
    cmp word [472h], 1234h
    je warm
    mov al, 'c'
    call put
    stay: hlt
    jmp stay
    warm: call put
    call off
  `,
    {
      on: (c, g) => {
        if (c !== "c") return;
        g.pc.keyboard.key("ControlLeft", true);
        g.pc.keyboard.key("AltLeft", true);
        tap(g, "Delete");
      },
    },
  );
  assert.equal(guest.output, "cw");
});

test("interrupts that nobody serves are acknowledged", async () => {
  // IRQ 5 by an input of its controller, IRQ 9 by way of INT 71h and 0Ah: both lines work again afterwards.
  const guest = await runGuest(
    `
    in al, 21h
    and al, 0DFh
    out 21h, al
    in al, 0A1h
    and al, 0FDh
    out 0A1h, al
    mov al, '5'
    call put
    hlt
    mov al, '9'
    call put
    hlt
    mov al, 0Bh
    out 20h, al
    in al, 20h
    or al, al
    jnz fail
    mov al, 0Bh
    out 0A0h, al
    in al, 0A0h
    or al, al
    jnz fail
    mov al, '.'
    call put
    call off
  `,
    {
      on: (c, g) => {
        if (c !== "5" && c !== "9") return;
        const line = g.pc.pic.line(Number(c));
        line.set(true);
        line.set(false);
      },
    },
  );
  assert.equal(guest.output, "59.");
});

test("INT 5 without a printer only notes the error", async () => {
  const guest = await runGuest(`
    int 5
    mov al, [500h]
    cmp al, 0FFh
    jne fail
    mov al, '.'
    call put
    call off
  `);
  assert.equal(guest.output, ".");
});

for (const clock of [undefined, "real"] as const) {
  test(`guest time goes on while a bell sounds and a retrace is awaited (${clock ?? "instruction"} clock)`, async () => {
    const guest = await runGuest(
      `
      mov ax, 0E07h
      int 10h
      mov al, 'B'
      call put
      mov ax, 4F02h
      mov bx, 101h
      int 10h
      mov ax, 4F07h
      mov bx, 80h
      xor cx, cx
      xor dx, dx
      int 10h
      cmp ax, 4Fh
      jne fail
      mov al, 'R'
      call put
      call off
    `,
      { ...(clock && { clock }) },
    );
    assert.equal(guest.output, "BR");
    const [bell = 0, retrace = 0] = guest.times;
    assert.ok(bell > 250 && retrace - bell < 1000, guest.times.join(" "));
  });
}

test("a bell sounds for a quarter of a second of guest time, and the caller waits for it", async () => {
  const guest = await runGuest(`
    mov al, '1'
    call put
    mov ax, 0E07h
    int 10h
    mov al, '2'
    call put
    call off
  `);
  assert.equal(guest.output, "12");
  const [before, after] = guest.times as [number, number];
  assert.ok(after - before >= 250 && after - before < 260, `${after - before} ms`);
  assert.equal(guest.domain.bus.in(0x61, 1) & 3, 0, "the speaker is off again");
});
