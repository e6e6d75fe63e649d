/**
 * A program that sets every video mode through the BIOS and draws in it: on a diskette, for any PC. It tells each picture
 * on the serial line ("S 13", "V 0118 0400 0300 18" for VBE) and waits for a byte before it goes on. Characters are of its
 * own font, so that nothing depends on the BIOS's.
 */
import { assemble } from "../../src/firmware/assembler.ts";

const FLOPPY_BYTES = 1440 * 1024;
const SECTOR = 512;
const ORIGIN = 0x8000;
const SECTORS = 16;

const LOADER = `
    cli
    xor ax, ax
    mov ds, ax
    mov es, ax
    mov ss, ax
    mov sp, 0x7c00
    sti
    mov ax, 0x0200 + ${SECTORS}
    mov bx, ${ORIGIN}
    mov cx, 2
    mov dh, 0
    int 0x13
    jc $
    jmp 0:${ORIGIN}
`;

const PROGRAM = `
com1 equ 0x3f8
info equ 0x6000                  ; VBE blocks
font equ 0x5000                  ; 256 characters of 8 or 16 lines

    mov dx, com1 + 3
    mov al, 0x80
    out dx, al
    mov dx, com1
    mov al, 1
    out dx, al
    inc dx
    mov al, 0
    out dx, al
    mov dx, com1 + 3
    mov al, 3
    out dx, al

    mov si, standard
next_standard:
    lodsb
    cmp al, 0xff
    je variants
    push si
    mov [mode], al
    mov ah, 0
    int 0x10
    mov al, [mode]               ; behind mode 7 QEMU's BIOS needs to be told twice, and in it once
    mov ah, 0
    cmp al, 7
    je set_standard
    int 0x10
set_standard:
    call draw_standard
    mov al, 'S'
    call put
    mov al, [mode]
    call space_byte
    call shown
    pop si
    jmp next_standard

standard:
    db 0, 1, 2, 3, 7, 4, 5, 6, 0x0d, 0x0e, 0x0f, 0x10, 0x11, 0x12, 0x13, 0xff

; ---- variants of standard modes, told as "X n" ------------------------------------------------------------------

variants:
    mov byte [mode], 3           ; 50 lines of text
    mov ax, 0x0003
    int 0x10
    mov ax, 0x1112
    mov bl, 0
    int 0x10
    mov ax, 8
    call make_font
    mov ax, 0x1100
    mov bx, 0x0800
    mov cx, 256
    xor dx, dx
    mov bp, font
    int 0x10
    mov ax, 0x1003
    mov bx, 0
    int 0x10
    mov cx, 80 * 50
    call fill_text
    mov al, 0
    call told

    mov ax, 0x0013               ; mode X: 320 x 240 in planes
    int 0x10
    mov dx, 0x3c4
    mov ax, 0x0604
    out dx, ax
    mov dx, 0x3c2
    mov al, 0xe3
    out dx, al
    mov dx, 0x3d4
    mov ax, 0x2c11
    out dx, ax
    mov bx, mode_x
mode_x_next:
    mov ax, [bx]
    cmp ax, 0
    je mode_x_set
    out dx, ax
    add bx, 2
    jmp mode_x_next
mode_x:
    dw 0x0d06, 0x3e07, 0x4109, 0xea10, 0xac11, 0xdf12, 0x0014, 0xe715, 0x0616, 0xe317, 0
mode_x_set:
    mov byte [mode], 0x13
    call fill_planes
    mov byte [mode], 0
    mov al, 1
    call told

    mov ax, 0x000d               ; split screen, and a start address
    int 0x10
    call fill_planes
    mov dx, 0x3d4
    mov ax, 0x0a0c
    out dx, ax
    mov ax, 0x400d
    out dx, ax
    mov ax, 0x5f18               ; line compare 15Fh, of 400 lines: its bits 8 and 9 are in 07h and 09h
    out dx, ax
    mov ax, 0x1f07
    out dx, ax
    mov al, 9
    out dx, al
    inc dx
    in al, dx
    and al, 0xbf
    out dx, al
    mov al, 2
    call told

    mov ax, 0x0004               ; the other palette of mode 4, on blue
    int 0x10
    mov ah, 0x0b
    mov bx, 0x0100
    int 0x10
    mov ah, 0x0b
    mov bx, 0x0001
    int 0x10
    mov ax, 0xb800
    call fill_bytes
    mov al, 3
    call told

    mov ax, 0x0010               ; a palette and a DAC of the program's own
    int 0x10
    call fill_planes
    mov cx, 16
own_palette:
    mov bx, cx
    dec bx
    mov bh, 15
    sub bh, bl
    mov ax, 0x1000
    int 0x10
    loop own_palette
    mov ax, 0x1010
    mov bx, 3
    mov dh, 0x3f
    mov cx, 0x003f
    int 0x10
    mov al, 4
    call told
    jmp vbe

; ---- VBE --------------------------------------------------------------------------------------------------------

vbe:
    mov ax, 0x4f00
    mov di, info
    mov dword [di], 0x32454256
    int 0x10
    cmp ax, 0x004f
    jne finish
    lds si, [info + 14]          ; the list may stand in our block: copy it
    mov di, list
copy_list:
    lodsw
    stosw
    cmp ax, 0xffff
    jne copy_list
    xor ax, ax
    mov ds, ax
    mov si, list
next_vbe:
    lodsw
    cmp ax, 0xffff
    je finish
    cmp ax, 0x100
    jb next_vbe
    push si
    mov [number], ax
    mov cx, ax
    mov ax, 0x4f01
    mov di, info
    int 0x10
    cmp ax, 0x004f
    jne vbe_skip
    mov bx, [number]
    test byte [info], 0x80
    jz vbe_set
    or bx, 0x4000
vbe_set:
    mov ax, 0x4f02
    int 0x10
    cmp ax, 0x004f
    jne vbe_skip
    cmp byte [info + 0x19], 4
    je vbe_planar
    call draw_linear
    jmp vbe_tell
vbe_planar:
    call draw_banks_of_planes
vbe_tell:
    mov al, 'V'
    call put
    mov ax, [number]
    call space_word
    mov ax, [info + 0x12]
    call space_word
    mov ax, [info + 0x14]
    call space_word
    mov al, [info + 0x19]
    call space_byte
    call shown
vbe_skip:
    pop si
    jmp next_vbe

finish:
    mov ax, 0x4f02               ; a virtual screen, of which a part shows: told as "X 5"
    mov bx, 0x0103
    int 0x10
    cmp ax, 0x004f
    jne finished
    mov ax, 0x4f06
    mov bx, 0
    mov cx, 1024
    int 0x10
    mov word [info + 0x10], 1024
    mov word [info + 0x14], 640
    mov byte [info + 0x19], 8
    mov dword [info + 0x28], 0
    call draw_banks
    mov ax, 0x4f07
    mov bx, 0
    mov cx, 64
    mov dx, 24
    int 0x10
    mov al, 5
    call told
finished:
    mov al, 'E'
    call put
    mov al, 10
    call put
    jmp $

; ---- drawing ----------------------------------------------------------------------------------------------------

; In the standard mode that is set.
draw_standard:
    mov al, [mode]
    cmp al, 3
    jbe draw_text
    cmp al, 7
    je draw_text
    mov ax, 8
    call make_font
    mov ax, 0x1121
    mov bl, 2
    mov cx, 8
    mov bp, font
    int 0x10
    cmp byte [mode], 6
    jbe draw_cga
    cmp byte [mode], 0x13
    je draw_13
    cmp byte [mode], 0x11
    je draw_11
    call fill_planes
    jmp draw_dots
draw_11:                         ; two colours, all planes alike
    mov ax, 0xa000
    jmp fill_bytes
draw_cga:
    mov ax, 0xb800
    call fill_bytes
    jmp draw_dots
draw_13:
    mov ax, 0xa000
    call fill_bytes
draw_dots:                       ; dots, by exclusive-or too, and characters
    mov cx, 90
draw_dot:
    push cx
    mov dx, cx
    mov al, cl
    and al, 0x0f
    mov ah, 0x0c
    mov bh, 0
    int 0x10
    pop cx
    push cx
    mov dx, cx
    add cx, 100
    mov ax, 0x0c83
    mov bh, 0
    int 0x10
    pop cx
    loop draw_dot
    mov ax, 0x0200
    mov bh, 0
    mov dx, 0x0305
    int 0x10
    mov si, hello
draw_letter:
    lodsb
    cmp al, 0
    je draw_scroll
    mov ah, 0x0e
    mov bx, 3
    int 0x10
    jmp draw_letter
draw_scroll:
    mov ax, 0x0602
    mov bh, 2
    mov cx, 0x080a
    mov dx, 0x0f14
    int 0x10
    mov ax, 0x0701
    mov bh, 1
    mov cx, 0x0816
    mov dx, 0x0f1e
    int 0x10
    ret
hello:
    db 'Hello, video', 13, 10, 'mode', 0

draw_text:
    mov ah, 1
    mov cx, 0x2000
    int 0x10
    mov ax, 0x1003
    mov bx, 0
    int 0x10
    mov ax, 16
    call make_font
    mov ax, 0x1100
    mov bx, 0x1000
    mov cx, 256
    xor dx, dx
    mov bp, font
    int 0x10
    mov cx, 80 * 25
    cmp byte [mode], 1
    ja draw_cells
    mov cx, 40 * 25
draw_cells:
    call fill_text
    cmp byte [mode], 7
    jne draw_cursor
    mov bx, 0x10                 ; dark as IBM's BIOS has it
draw_dark:
    mov ax, 0x1010
    mov dh, 0
    mov cx, 0
    int 0x10
    inc bx
    cmp bx, 0x18
    jb draw_dark
draw_cursor:
    mov ah, 2
    mov bh, 0
    mov dx, 0x0405
    int 0x10
    mov si, hello
text_letter:
    lodsb
    cmp al, 0
    je text_scroll
    mov ah, 0x0e
    mov bx, 7
    int 0x10
    jmp text_letter
text_scroll:
    mov ax, 0x0602
    mov bh, 0x2e
    mov cx, 0x080a
    mov dx, 0x0f14
    int 0x10
    mov ax, 0x0701
    mov bh, 0x4f
    mov cx, 0x0816
    mov dx, 0x0f1e
    int 0x10
    mov ah, 2
    mov bh, 0
    mov dx, 0x1203
    int 0x10
    mov ax, 0x09c4
    mov bx, 0x005e
    mov cx, 12
    int 0x10
    ret

; CX cells in all characters and attributes.
fill_text:
    push es
    mov ax, 0xb800
    cmp byte [mode], 7
    jne fill_cells
    mov ax, 0xb000
fill_cells:
    mov es, ax
    xor di, di
    xor bx, bx
fill_cell:
    mov al, bl                   ; not B0h-BFh, whose ninth dot QEMU draws like that of C0h-DFh
    cmp al, 0xb0
    jb fill_attribute
    cmp al, 0xc0
    jae fill_attribute
    sub al, 0x50
fill_attribute:
    mov ah, bl
    add ah, bh
    add ah, bl
    cmp byte [mode], 7
    jne fill_store
    or ah, 2                     ; not underlined: QEMU's BIOS says where for the EGA's fonts only
fill_store:
    stosw
    inc bx
    loop fill_cell
    pop es
    ret

; A font of AX lines.
make_font:
    mov bx, ax
    mov di, font
    xor cx, cx
make_character:
    xor dx, dx
make_line:
    mov al, dl
    mov ah, 29
    mul ah
    xor al, cl
    add al, dl
    stosb
    inc dx
    cmp dx, bx
    jb make_line
    inc cx
    cmp cx, 256
    jb make_character
    ret

; 64 KB of segment AX.
fill_bytes:
    push es
    mov es, ax
    xor di, di
fill_byte:
    mov ax, di
    xor al, ah
    stosb
    cmp di, 0
    jne fill_byte
    pop es
    ret

; Four planes of 64 KB.
fill_planes:
    push es
    mov ax, 0xa000
    mov es, ax
    mov bl, 1
fill_plane:
    mov dx, 0x3c4
    mov al, 2
    mov ah, bl
    out dx, ax
    xor di, di
fill_plane_byte:
    mov ax, di
    add al, ah
    mul bl
    stosb
    cmp di, 0
    jne fill_plane_byte
    shl bl, 1
    cmp bl, 16
    jb fill_plane
    mov ax, 0x0f02
    out dx, ax
    mov dx, 0x3ce                ; a line by write mode 2 and the bit mask
    mov ax, 0x0205
    out dx, ax
    mov ax, 0x3c08
    out dx, ax
    mov di, 4000
    mov cx, 30
fill_masked:
    mov al, [es:di]
    mov al, cl
    stosb
    loop fill_masked
    mov ax, 0xff08
    out dx, ax
    mov ax, 0x0305               ; by write mode 3 and set/reset
    out dx, ax
    mov ax, 0x0600
    out dx, ax
    mov di, 4400
    mov cx, 30
fill_reset:
    mov al, [es:di]
    mov al, 0x5a
    stosb
    loop fill_reset
    mov ax, 0x0105               ; and copies by the latches
    out dx, ax
    mov si, 100
    mov di, 5000
    mov cx, 100
    push ds
    mov ax, 0xa000
    mov ds, ax
    rep movsb
    pop ds
    mov ax, 0x0000
    out dx, ax
    mov al, 5
    mov ah, 0
    cmp byte [mode], 0x13
    jne fill_mode
    mov ah, 0x40
fill_mode:
    out dx, ax
    pop es
    ret

; Every line of the linear frame buffer in a colour of its own, and a diagonal; then marks through the window.
draw_linear:
    mov eax, [info + 0x28]
    cmp eax, 0
    je draw_banks
    cli
    call big_segments
    mov ebx, eax                 ; start of the line
    xor ebp, ebp
    movzx edx, word [info + 0x10]
    movzx esi, word [info + 0x14]
linear_line:
    mov edi, ebx
    imul eax, ebp, 0x01030507
    mov ecx, edx
    shr ecx, 2
    a32 rep stosd
    movzx edi, byte [info + 0x19]
    add edi, 7
    shr edi, 3
    imul edi, ebp
    cmp ebp, 300
    jae linear_next
    mov dword [es:ebx + edi], 0xffffffff
linear_next:
    add ebx, edx
    inc ebp
    cmp ebp, esi
    jb linear_line
    xor ax, ax
    mov es, ax
    sti
    call bank_count
    mov word [bank], 0
mark_bank:
    mov ax, 0x4f05
    mov bx, 0
    mov dx, [bank]
    int 0x10
    push es
    mov ax, 0xa000
    mov es, ax
    mov di, [bank]
    shl di, 5
    mov eax, 0x00ff5500
    mov cx, 9
    rep stosd
    pop es
    inc word [bank]
    mov ax, [bank]
    cmp ax, [banks]
    jb mark_bank
    ret

; Number of banks of the picture.
bank_count:
    movzx eax, word [info + 0x10]
    movzx edx, word [info + 0x14]
    imul eax, edx
    shr eax, 16
    mov [banks], ax
    cmp ax, 0
    jne bank_counted
    inc word [banks]
bank_counted:
    ret

; The same without a linear frame buffer: all through the window.
draw_banks:
    call bank_count
    mov word [bank], 0
draw_bank:
    mov ax, 0x4f05
    mov bx, 0
    mov dx, [bank]
    int 0x10
    mov ax, 0xa000
    call fill_bytes
    inc word [bank]
    mov ax, [bank]
    cmp ax, [banks]
    jb draw_bank
    ret

draw_banks_of_planes:
    mov byte [mode], 0x12
    call bank_count
    inc word [banks]             ; a last piece of a bank
    mov word [bank], 0
planar_bank:
    mov ax, 0x4f05
    mov bx, 0
    mov dx, [bank]
    int 0x10
    call fill_planes
    inc word [bank]
    mov ax, [bank]
    cmp ax, [banks]
    jb planar_bank
    ret

; ES with a limit of 4 GB. Interrupts are off. Keeps EAX.
big_segments:
    push eax
    lgdt [gdt]
    mov eax, cr0
    or al, 1
    mov cr0, eax
    jmp big_on
big_on:
    mov bx, 8
    mov es, bx
    and al, 0xfe
    mov cr0, eax
    jmp big_off
big_off:
    xor bx, bx
    mov es, bx
    pop eax
    ret
gdt:
    dw 15
    dd gdt
    dw 0
    dw 0xffff, 0, 0x9300, 0x8f

; ---- the serial line --------------------------------------------------------------------------------------------

; "X" and AL, then wait.
told:
    push ax
    mov al, 'X'
    call put
    pop ax
    call space_byte
; End the line and wait for a byte.
shown:
    mov al, 10
    call put
    mov dx, com1 + 5
shown_wait:
    in al, dx
    test al, 1
    jz shown_wait
    mov dx, com1
    in al, dx
    ret

put:
    push dx
    push ax
    mov dx, com1 + 5
put_wait:
    in al, dx
    test al, 0x20
    jz put_wait
    pop ax
    mov dx, com1
    out dx, al
    pop dx
    ret

space_word:
    push ax
    mov al, ah
    call space_byte
    pop ax
    jmp byte_digits
space_byte:
    push ax
    mov al, ' '
    call put
    pop ax
byte_digits:
    push ax
    shr al, 4
    call digit
    pop ax
    and al, 0x0f
digit:
    add al, '0'
    cmp al, '9'
    jbe put
    add al, 39
    jmp put

mode:   db 0
number: dw 0
bank:   dw 0
banks:  dw 0
    align 4
list:
`;

/** The diskette. */
export function displayDiskette(): Uint8Array {
  const image = new Uint8Array(FLOPPY_BYTES);
  const { code: loader } = assemble(LOADER, { origin: 0x7c00 });
  const { code } = assemble(PROGRAM, { origin: ORIGIN });
  if (code.length > SECTORS * SECTOR) throw new Error(`the program takes ${code.length} bytes`);
  image.set(loader);
  image.set([0x55, 0xaa], SECTOR - 2);
  image.set(code, SECTOR);
  return image;
}

/** A picture that the program tells of: standard modes by number, VBE's by size and depth. */
export interface Told {
  readonly key: string;
  /** What the program wrote. */
  readonly line: string;
}

/** Understand a line of the program's; undefined for its last. */
export function readTold(line: string): Told | undefined {
  const [kind, ...words] = line.trim().split(" ");
  const values = words.map((word) => Number.parseInt(word, 16));
  if (kind === "S") return { key: `mode ${words[0]}h`, line };
  if (kind === "X") return { key: VARIANTS[values[0]!]!, line };
  if (kind === "V") return { key: `${values[1]} × ${values[2]} × ${values[3]}`, line };
  return undefined;
}

const VARIANTS = [
  "50 lines of text",
  "mode X",
  "split screen",
  "palette 0 of mode 4",
  "own palette",
  "virtual screen",
] as const;
