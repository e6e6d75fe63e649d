/**
 * The protected-mode interface of VBE (INT 10h AX=4F0Ah): window, display start and palette as 32-bit procedures that
 * work wherever a program copies them. They reach the adapter by ports alone and trap to nobody.
 * VBE 3.0, "VBE Protected Mode Interface" (the form of VBE 2.0).
 */
import { assemble } from "../assembler.ts";
import type { ServiceContext } from "../service.ts";
import { ROM, ROM_SEGMENT } from "./layout.ts";
import { bl, setWord } from "./registers.ts";
import { DISPI } from "./vbe-modes.ts";

/** Offsets of the three procedures and of the list of ports, as words, begin the table. */
const TABLE_SIZE = 8;

const SOURCE = `
window:                             ; BX = 0 set, 0100h get; DX = bank
    push edx
    push eax
    mov ax, ${DISPI.BANK}
    call select
    cmp bh, 0
    jne window_get
    mov ax, [esp + 4]
    out dx, ax
    pop eax
    pop edx
    mov ax, 0x004f
    ret
window_get:
    in ax, dx
    mov [esp + 4], ax
    pop eax
    pop edx
    mov ax, 0x004f
    ret

; Choose register AX of the display interface; DX is its data port then.
select:
    mov dx, 0x1ce
    out dx, ax
    inc edx
    ret

start:                              ; BL = 0 or 80h; DX:CX = address in double words
    push ebx
    push ecx
    push edx
    push esi
    push edi
    cmp bl, 0x80
    jne start_now
    call retrace
start_now:
    movzx esi, word [esp + 8]       ; the address in bytes: in planar modes that of a plane
    shl esi, 16
    mov si, cx
    shl esi, 2
    mov ax, ${DISPI.BITS}
    call select
    xor eax, eax
    in ax, dx
    mov edi, eax
    mov ax, ${DISPI.VIRTUAL_WIDTH}
    call select
    xor eax, eax
    in ax, dx
    mov ebx, edi
    cmp ebx, 4
    jne start_packed
    shr eax, 3
    mov ebx, eax                    ; EBX = bytes of a line, EDI = bytes of a pixel or 0
    xor edi, edi
    jmp start_divide
start_packed:
    add ebx, 7
    shr ebx, 3
    mov edi, ebx
    mul ebx
    mov ebx, eax
start_divide:
    mov eax, esi
    xor edx, edx
    div ebx                         ; EAX = line, EDX = bytes in it
    mov esi, eax
    mov eax, edx
    test edi, edi
    jnz start_pixels
    shl eax, 3
    jmp start_set
start_pixels:
    xor edx, edx
    div edi
start_set:
    mov edi, eax
    mov ax, ${DISPI.X_OFFSET}
    call select
    mov eax, edi
    out dx, ax
    mov ax, ${DISPI.Y_OFFSET}
    call select
    mov eax, esi
    out dx, ax
    pop edi
    pop esi
    pop edx
    pop ecx
    pop ebx
    mov ax, 0x004f
    ret

palette:                            ; BL = 0 or 80h; ECX colours from EDX on at ES:EDI
    push ebx
    push ecx
    push edx
    push esi
    cmp bl, 0x80
    jne palette_now
    call retrace
palette_now:
    movzx ecx, cx
    mov eax, [esp + 4]
    mov esi, edi
    mov dx, 0x3c8
    out dx, al
    inc edx
    jecxz palette_done
palette_next:
    mov al, [es:esi + 2]
    out dx, al
    mov al, [es:esi + 1]
    out dx, al
    mov al, [es:esi]
    out dx, al
    add esi, 4
    dec ecx
    jnz palette_next
palette_done:
    pop esi
    pop edx
    pop ecx
    pop ebx
    mov ax, 0x004f
    ret

; Wait for the start of a vertical retrace.
retrace:
    push edx
    mov dx, 0x3da
retrace_end:
    in al, dx
    test al, 8
    jnz retrace_end
retrace_start:
    in al, dx
    test al, 8
    jz retrace_start
    pop edx
    ret
end:
`;
/** Ports that the procedures use; none of memory. */
const PORTS = [0x1ce, 0x1cf, 0x3c8, 0x3c9, 0x3da, 0xffff, 0xffff] as const;

/** Table, procedures and list of ports as they stand in the image. */
export const PROTECTED_INTERFACE: Uint8Array = (() => {
  const { code, labels } = assemble(SOURCE, { origin: TABLE_SIZE, bits: 32 });
  const bytes = new Uint8Array(TABLE_SIZE + code.length + PORTS.length * 2);
  const view = new DataView(bytes.buffer);
  ["window", "start", "palette", "end"].forEach((label, i) => {
    view.setUint16(i * 2, labels.get(label)!, true);
  });
  bytes.set(code, TABLE_SIZE);
  PORTS.forEach((port, i) => {
    view.setUint16(TABLE_SIZE + code.length + i * 2, port, true);
  });
  return bytes;
})();

/** AX=4F0Ah, BL=0: where the interface stands (ES:DI), and its length in CX. */
export function protectedInterface({ cpu }: ServiceContext): boolean {
  if (bl(cpu) !== 0) return false;
  cpu.loadSelector("es", ROM_SEGMENT);
  setWord(cpu, "edi", ROM.VBE_PROTECTED);
  setWord(cpu, "ecx", PROTECTED_INTERFACE.length);
  return true;
}
