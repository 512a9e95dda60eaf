# A whole operating system of two sectors for launches that need no real one. It runs in 16-bit real
# mode on the BIOS's disk services, so it boots from any disk that the firmware can boot from.
#
# Disk: sector 0 and 1 this code, 2 the line it prints, 3 the boot counter, 4 the command (first byte):
#   'w' wait for the power button, 'o' power off, 'r' reboot on every odd boot then wait, 'h' ignore
#   everything, 't' triple fault.
# Memory: 0x7c00 this code, 0x8000 the sectors 2 to 4, stack below 0x7c00.

.code16
katagami_guest_start:
    cli
    xor %ax, %ax
    mov %ax, %ds
    mov %ax, %es
    mov %ax, %ss
    mov $0x7c00, %sp
    cld
    ljmp $0, $(1f - katagami_guest_start + 0x7c00)
1:
    # The firmware prints the end of its last line on a timer tick: after that, lines here stay whole.
    sti
    hlt
    hlt
    hlt
    movb %dl, katagami_guest_drive - katagami_guest_start + 0x7c00
    mov $(katagami_guest_banner - katagami_guest_start + 0x7c00), %si
    call katagami_guest_print
    # Sector 1 behind this one, sectors 2 to 4 to 0x8000.
    mov $0x42, %ah
    mov $(katagami_guest_packet_code - katagami_guest_start + 0x7c00), %si
    call katagami_guest_disk
    mov $0x42, %ah
    mov $(katagami_guest_packet_data - katagami_guest_start + 0x7c00), %si
    call katagami_guest_disk
    jmp katagami_guest_main

# AH = 0x42 read or 0x43 write, SI = address packet.
katagami_guest_disk:
    xor %al, %al
    movb katagami_guest_drive - katagami_guest_start + 0x7c00, %dl
    int $0x13
    jc katagami_guest_disk_failed
    ret
katagami_guest_disk_failed:
    mov $(katagami_guest_failed - katagami_guest_start + 0x7c00), %si
    call katagami_guest_print
1:  hlt
    jmp 1b

# Prints the text at SI up to its zero byte.
katagami_guest_print:
    lodsb
    test %al, %al
    jz 1f
    call katagami_guest_put
    jmp katagami_guest_print
1:  ret

# Prints AL once the serial port is ready.
katagami_guest_put:
    mov %al, %bl
    mov $0x3fd, %dx
1:  in %dx, %al
    test $0x20, %al
    jz 1b
    mov $0x3f8, %dx
    mov %bl, %al
    out %al, %dx
    ret

katagami_guest_drive: .byte 0
katagami_guest_banner: .asciz "KATAGAMI TINY GUEST\r\n"
katagami_guest_failed: .asciz "disk error\r\n"
.balign 4
# Size of packet, sectors, offset, segment, first sector.
katagami_guest_packet_code:
    .short 16, 1, 0x7e00, 0
    .quad 1
katagami_guest_packet_data:
    .short 16, 3, 0x8000, 0
    .quad 2
katagami_guest_packet_counter:
    .short 16, 1, 0x8200, 0
    .quad 3
.org katagami_guest_start + 510
.short 0xaa55

# Sector 1.
katagami_guest_main:
    mov $(katagami_guest_line - katagami_guest_start + 0x7c00), %si
    call katagami_guest_print
    mov $0x8000, %si
    call katagami_guest_print
    # Count this boot, on disk before anything says so.
    incw 0x8200
    mov $0x43, %ah
    mov $(katagami_guest_packet_counter - katagami_guest_start + 0x7c00), %si
    call katagami_guest_disk
    mov $(katagami_guest_boot - katagami_guest_start + 0x7c00), %si
    call katagami_guest_print
    movw 0x8200, %ax
    call katagami_guest_number
    mov $(katagami_guest_end_of_line - katagami_guest_start + 0x7c00), %si
    call katagami_guest_print
    movb 0x8400, %al
    cmp $'o', %al
    je katagami_guest_off
    cmp $'h', %al
    je katagami_guest_ignore
    cmp $'t', %al
    je katagami_guest_fault
    cmp $'r', %al
    jne katagami_guest_wait
    testb $1, 0x8200
    jnz katagami_guest_reboot

# Enables the power button event of the ACPI block at 0x600 and looks at its status on every timer tick.
katagami_guest_wait:
    mov $0x602, %dx
    mov $0x100, %ax
    out %ax, %dx
    mov $(katagami_guest_ready - katagami_guest_start + 0x7c00), %si
    call katagami_guest_print
1:  hlt
    mov $0x600, %dx
    in %dx, %ax
    test $0x100, %ax
    jz 1b
    mov $(katagami_guest_button - katagami_guest_start + 0x7c00), %si
    call katagami_guest_print

# ACPI soft off: sleep type 0 with sleep enable.
katagami_guest_off:
    mov $0x604, %dx
    mov $0x2000, %ax
    out %ax, %dx
katagami_guest_ignore:
    hlt
    jmp katagami_guest_ignore

katagami_guest_reboot:
    mov $(katagami_guest_again - katagami_guest_start + 0x7c00), %si
    call katagami_guest_print
    mov $0xfe, %al
    out %al, $0x64
    jmp katagami_guest_ignore

# An empty interrupt table and an invalid instruction: the processor gives up and resets.
katagami_guest_fault:
    lidt katagami_guest_no_idt - katagami_guest_start + 0x7c00
    ud2

# Prints AX in decimal.
katagami_guest_number:
    mov $10, %bp
    xor %cx, %cx
1:  xor %dx, %dx
    div %bp
    push %dx
    inc %cx
    test %ax, %ax
    jnz 1b
2:  pop %ax
    add $'0', %al
    call katagami_guest_put
    loop 2b
    ret

katagami_guest_line: .asciz "line: "
katagami_guest_boot: .asciz "\r\nboot: "
katagami_guest_ready: .asciz "ready\r\n"
katagami_guest_button: .asciz "power button\r\n"
katagami_guest_again: .asciz "rebooting\r\n"
katagami_guest_end_of_line: .asciz "\r\n"
katagami_guest_no_idt: .short 0, 0, 0
.org katagami_guest_start + 1024
katagami_guest_end:
