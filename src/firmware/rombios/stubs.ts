/**
 * The ROM's guest code: entry points, and what must run with the guest's own interrupts and hooks. Everything else is
 * a service: `trap name` is the OUT that calls it. A service may continue elsewhere by changing IP.
 *
 * Names beginning with bda_ are offsets in segment 40h, ebda_ in the extended data area, port_ are ports, entry_ the
 * fixed entry points of layout.ts.
 */

/** POST, resets and booting. */
const START = `
post:
  cli
  cld
  trap reset                     ; goes elsewhere for a reset that resumes a program (CMOS 0Fh)
  xor ax, ax
  mov ss, ax
  mov sp, 7C00h
  mov ds, ax
  mov es, ax
  trap post_setup
  call talk                      ; keyboard controller and keyboard
post_rom:
  xor ax, ax
  mov ds, ax
  trap post_rom                  ; next option ROM's entry to 40:67h; zero flag: no more
  jz post_video
  call option_rom
  xor ax, ax
  mov ds, ax
  trap post_rom_done             ; zero flag: nothing to connect; else 40:67h
  jz post_rom
  call option_rom
  jmp post_rom
post_video:
  cmp byte [BDA_BASE + 49h], 3   ; the video BIOS chose its mode
  je post_disks
  mov ax, 3
  int 10h
post_disks:
  trap post_disks
  trap post_finish               ; DS:SI = banner
  sti
  call print
  trap menu_prompt
  call print
boot_menu_wait:
  trap menu_poll                 ; zero flag: the menu, please; carry: time is over
  jz boot_menu
  jc boot_menu_end
  hlt
  jmp boot_menu_wait
boot_menu:
  trap menu_show
  call print
boot_menu_key:
  xor ah, ah
  int 16h
  trap menu_choose               ; zero flag: chosen
  jnz boot_menu_key
boot_menu_end:
  int 19h

option_rom:                      ; the one at 40:67h: ES:DI = $PnP, no card select number, no bus address
  push cs
  pop es
  mov di, plug_and_play
  mov ax, 0
  mov bx, 0FFFFh
  mov dx, 0FFFFh
  call far [BDA_BASE + bda_pointer]
  cli
  cld
  ret

shutdown_end_of_interrupt:       ; CMOS 0Fh = 5: EOI, then jump through 40:67h
  mov al, END_OF_INTERRUPT
  out port_pic2_command, al
  out port_pic1_command, al
shutdown_jump:                   ; 6, 0Ah
  xor ax, ax
  mov ds, ax
  jmp far [BDA_BASE + bda_pointer]
shutdown_block_move:             ; 9: return from a block move
  xor ax, ax
  mov ds, ax
  lss sp, [BDA_BASE + bda_pointer]
  pop ds
  pop es
  popa
  iret
shutdown_iret:                   ; 0Bh
  xor ax, ax
  mov ds, ax
  lss sp, [BDA_BASE + bda_pointer]
  iret
shutdown_retf:                   ; 0Ch
  xor ax, ax
  mov ds, ax
  lss sp, [BDA_BASE + bda_pointer]
  retf
shutdown_wake:                   ; 0FEh: out of suspend to RAM, where the system asked to be woken
  trap wake
  retf
shutdown_boot:                   ; 4
  int 19h

boot:                            ; INT 19h
  cli
  cld
  xor ax, ax
  mov ss, ax
  mov sp, 7C00h
  sti
  trap boot_start
boot_next:
  trap boot_next                 ; DS:SI = what to say; zero flag: a boot sector is in memory
  pushf
  call print
  popf
  jnz boot_next
boot_enter:
  cli
  xor ax, ax
  mov ss, ax
  mov sp, 7C00h
  sti
  trap boot_launch               ; pushes where to go
  retf
boot_failed:                     ; INT 18h: what was booted gives up
  xor ax, ax
  mov ss, ax
  mov sp, 7C00h
  sti
  cld
  jmp boot_next
no_boot:
  sti
  trap boot_none
  call print
  xor ah, ah
  int 16h
  int 19h

print:                           ; ASCIIZ at DS:SI
  cld
  lodsb
  test al, al
  jz print_done
  mov ah, 0Eh
  mov bx, 7
  push si
  int 10h
  pop si
  jmp print
print_done:
  ret

talk:                            ; carry an exchange with the 8042 through; interrupts are off
  push cx
talk_poll:
  trap talk
  jz talk_wait
  pop cx
  ret
talk_wait:
  mov cx, 100
talk_spin:
  loop talk_spin
  jmp talk_poll

end_irq:                         ; non-specific EOI; AL is lost
  mov al, END_OF_INTERRUPT
  out port_pic1_command, al
  ret
end_irq_slave:
  mov al, END_OF_INTERRUPT
  out port_pic2_command, al
  out port_pic1_command, al
  ret
`;

/** Hardware interrupts. */
const HARDWARE = `
timer:                           ; INT 8
  push ds
  push ax
  push dx
  push 40h
  pop ds
  inc word [bda_ticks]
  jnz timer_day
  inc word [bda_ticks + 2]
timer_day:
  cmp word [bda_ticks + 2], TICKS_PER_DAY >> 16
  jb timer_motor
  cmp word [bda_ticks], TICKS_PER_DAY & 0FFFFh
  jb timer_motor
  mov word [bda_ticks], 0
  mov word [bda_ticks + 2], 0
  mov byte [bda_midnight], 1
timer_motor:
  dec byte [bda_floppy_motor_timeout]
  jnz timer_hook
  and byte [bda_floppy_motors], 0F0h
  mov al, 0Ch
  mov dx, port_floppy_dor
  out dx, al
timer_hook:
  int 1Ch
  cli
  call end_irq
  pop dx
  pop ax
  pop ds
  iret

keyboard:                        ; INT 9
  push ax
  mov al, 0ADh                   ; the byte stays readable for hooks while the keyboard is off
  out port_keyboard_status, al
  in al, port_keyboard_data
  mov ah, 4Fh
  stc
  int 15h
  jnc int9_end
  trap int9
int9_end:
  call int9_ready
  pop ax
  iret
int9_ready:
  call end_irq
  mov al, 0AEh
  out port_keyboard_status, al
  ret
int9_post:
  call int9_ready
  mov ax, 9102h
  int 15h
  pop ax
  iret
int9_talk:
  call int9_ready
  call talk
  pop ax
  iret
int9_print:
  call int9_ready
  int 5
  pop ax
  iret
int9_break:
  call int9_ready
  int 1Bh
  pop ax
  iret
int9_sysreq_down:
  call int9_ready
  mov ax, 8500h
  sti
  int 15h
  pop ax
  iret
int9_sysreq_up:
  call int9_ready
  mov ax, 8501h
  sti
  int 15h
  pop ax
  iret
int9_pause:
  call int9_ready
  push ds
  push 40h
  pop ds
int9_paused:
  sti
  hlt
  test byte [bda_shift_flags_2], 8
  jnz int9_paused
  pop ds
  pop ax
  iret
int9_beep:
  call int9_ready
  push bx
  push cx
  in al, port_system_control_b
  mov ah, al
  mov bx, 100
int9_beep_edge:
  and al, 0FEh
  xor al, 2
  out port_system_control_b, al
  mov cx, 200
int9_beep_wait:
  loop int9_beep_wait
  dec bx
  jnz int9_beep_edge
  mov al, ah
  out port_system_control_b, al
  pop cx
  pop bx
  pop ax
  iret
int9_reset:
  push 40h
  pop ds
  mov word [bda_reset_flag], 1234h
  mov al, 0FEh                   ; pulse the reset line
  out port_keyboard_status, al
  jmp 0F000h:entry_post

floppy_irq:                      ; INT 0Eh
  push ds
  push ax
  push 40h
  pop ds
  or byte [bda_floppy_recalibrated], 80h
  call end_irq
  mov ax, 9101h
  int 15h
  pop ax
  pop ds
  iret

clock_irq:                       ; INT 70h
  push ax
  trap int70
  call end_irq_slave
  pop ax
  iret
int70_alarm:
  call end_irq_slave
  sti
  int 4Ah
  pop ax
  iret

irq9:                            ; INT 71h: IRQ 2's successor
  push ax
  mov al, END_OF_INTERRUPT
  out port_pic2_command, al
  pop ax
  int 0Ah
  iret

mouse_irq:                       ; INT 74h
  pusha
  push ds
  push es
  trap int74                     ; zero flag: no packet for a handler
  jz mouse_irq_end
  push 40h
  pop ds
  mov ds, [bda_ebda_segment]
  push word [ebda_mouse_packet]
  push word [ebda_mouse_packet + 2]
  push word [ebda_mouse_packet + 4]
  push word [ebda_mouse_packet + 6]
  sti
  call far [ebda_mouse_handler]
  cli
  add sp, 8
mouse_irq_end:
  call end_irq_slave
  pop es
  pop ds
  popa
  iret

fpu_irq:                         ; INT 75h
  push ax
  xor al, al
  out port_fpu_clear, al
  call end_irq_slave
  pop ax
  int 2
  iret

disk_irq:                        ; INT 76h
  push ds
  push ax
  push 40h
  pop ds
  mov byte [bda_disk_interrupt], 0FFh
  call end_irq_slave
  mov ax, 9100h
  int 15h
  pop ax
  pop ds
  iret

unexpected_irq:                  ; a device's interrupt that nobody serves, or a spurious one
  push ax
  mov al, READ_IN_SERVICE
  out port_pic1_command, al
  in al, port_pic1_command
  test al, al
  jz unexpected_end
  test al, 4
  jz unexpected_master
  mov al, READ_IN_SERVICE
  out port_pic2_command, al
  in al, port_pic2_command
  test al, al
  jz unexpected_master
  mov al, END_OF_INTERRUPT
  out port_pic2_command, al
unexpected_master:
  call end_irq
unexpected_end:
  pop ax
  iret
`;

/** Software interrupts that are more than a trap. */
const SOFTWARE = `
keyboard_service:                ; INT 16h
  sti                            ; a caller that polls with interrupts off still gets its keys
  nop
int16_again:
  cli
  trap int16
  iret
int16_wait:
  push ax
  mov ax, 9002h
  int 15h
  pop ax
int16_idle_wait:
  sti
  hlt
  jmp int16_again
int16_idle:
  sti
  hlt
  iret
int16_leds:
  call talk
  jmp int16_again
int16_talk:
  call talk
  iret

system_service:                  ; INT 15h
  cmp ah, 0C2h
  jne system_trap
  sti                            ; bytes already on their way go to INT 9 and INT 74h
  nop
  cli
system_trap:
  trap int15
  iret
int15_idle:
  sti
  hlt
  iret
int15_mouse:
  call talk
  trap mouse_done
  iret
int15_delay:
  push ds
  push 40h
  pop ds
int15_delaying:
  cli
  test byte [bda_wait_active], 80h
  jnz int15_delayed
  sti
  hlt
  jmp int15_delaying
int15_delayed:
  mov byte [bda_wait_active], 0
  pop ds
  iret

disk_service:                    ; INT 13h
  sti
  trap int13
  iret

serial_service:                  ; INT 14h
  sti
  trap int14
  iret
int14_wait:
  push cx
  mov cx, 100
int14_spin:
  loop int14_spin
  pop cx
  trap int14_poll                ; zero flag: still waiting
  jz int14_wait
  iret

printer_service:                 ; INT 17h
  sti
  trap int17
  iret

time_service:                    ; INT 1Ah
  trap int1a
  iret
int1a_idle:
  sti
  hlt
  trap int1a_ticks
  iret

print_screen:                    ; INT 5
  sti
  push ds
  pusha
  push 40h
  pop ds
  cmp byte [PRINT_STATUS], 1
  je print_screen_end
  mov byte [PRINT_STATUS], 0FFh
  cmp word [bda_parallel_ports], 0
  je print_screen_end
  mov byte [PRINT_STATUS], 1
  mov ah, 0Fh
  int 10h
  mov cl, ah                     ; columns
  mov ch, [bda_video_rows]
  inc ch
  push cx
  mov ah, 3
  int 10h
  pop cx
  push dx                        ; the cursor, to be put back
  call print_screen_line
  jc print_screen_stop
  xor dx, dx
print_screen_cell:
  mov ah, 2
  int 10h
  mov ah, 8
  int 10h
  test al, al
  jnz print_screen_character
  mov al, ' '
print_screen_character:
  call print_screen_out
  jc print_screen_stop
  inc dl
  cmp dl, cl
  jb print_screen_cell
  mov dl, 0
  call print_screen_line
  jc print_screen_stop
  inc dh
  cmp dh, ch
  jb print_screen_cell
print_screen_stop:               ; carry: the printer failed
  sbb al, al
  mov [PRINT_STATUS], al
  pop dx
  mov ah, 2
  int 10h
print_screen_end:
  popa
  pop ds
  iret
print_screen_line:
  mov al, 0Dh
  call print_screen_out
  jc print_screen_return
  mov al, 0Ah
print_screen_out:
  push dx
  xor dx, dx
  mov ah, 0
  int 17h
  pop dx
  test ah, 29h
  jz print_screen_return         ; TEST cleared the carry flag
  stc
print_screen_return:
  ret
`;

/** Plug and Play: a header for those that look for one, and no device nodes (PnP BIOS specification 1.0A, 4.4). */
const PLUG_AND_PLAY = `
  align 16
plug_and_play:
  db '$PnP', 10h, PNP_LENGTH
  dw 0                           ; no events
  db 0                           ; checksum, set when the image is built
  dd 0
  dw plug_and_play_real, ROM_SEGMENT
  dw plug_and_play_protected
  dd ROM_BASE
  dd 0                           ; no OEM identifier
  dw ROM_SEGMENT
  dd ROM_BASE
plug_and_play_real:
plug_and_play_protected:
  mov ax, PNP_UNSUPPORTED
  retf
`;

/** Entries for protected mode, reached by far calls, and the directory by which systems find them. */
const PROTECTED = `
  align 16
bios32_directory:
  db '_32_'
  dd ROM_BASE + bios32
  db 0, 1                        ; revision, length in 16 bytes
  db 0                           ; checksum, set when the image is built
  db 0, 0, 0, 0, 0
apm_16:
  trap apm_16
  retf
apm_16_idle:
  sti
  hlt
  retf
  bits 32
apm_32:
  trap apm_32
  retf
apm_32_idle:
  sti
  hlt
  retf
bios32:
  trap bios32
  retf
pci_protected:
  trap pci_protected
  retf
  bits 16
`;

/** The fixed entry points, in the order of their addresses. */
const ENTRIES = `
  org entry_copyright
  db 'vmxon BIOS', 0
  org entry_post
  jmp post
  org entry_nmi
  iret
  org entry_int13
  jmp near disk_service
  org entry_int19
  jmp near boot
  org entry_int14
  jmp near serial_service
  org entry_int16
  jmp near keyboard_service
  org entry_int09
  jmp near keyboard
  org entry_int13_floppy
  jmp near disk_service
  org entry_int0e
  jmp near floppy_irq
  org entry_int17
  jmp near printer_service
  org entry_int10
  iret
  org entry_int12
  push ds
  push 40h
  pop ds
  mov ax, [bda_base_memory_kb]
  pop ds
  iret
  org entry_int11
  push ds
  push 40h
  pop ds
  mov ax, [bda_equipment]
  pop ds
  iret
  org entry_int15
  jmp near system_service
  org entry_int1a
  jmp near time_service
  org entry_int08
  jmp near timer
  org entry_iret
  iret
  org entry_int05
  jmp near print_screen
  org entry_reset
  jmp 0F000h:entry_post
  org entry_date
  db '06/23/99', 0, MODEL
`;

/** Assembly text of the ROM; the code that has no fixed place stands at `CODE_BASE`. */
export const ROM_SOURCE = `org CODE_BASE\n${START}${HARDWARE}${SOFTWARE}${PLUG_AND_PLAY}${PROTECTED}${ENTRIES}`;
