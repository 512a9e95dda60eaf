# One boot sector that proves an accelerator: it enters 64-bit mode with paging on, takes an exception
# through a 64-bit interrupt gate, prints a token on the first serial port and leaves QEMU through its
# debug exit port. The firmware loads it at 0x7c00 in 16-bit real mode.
#
# Memory: 0x1000 page map, 0x2000 directory pointers, 0x3000 directory, 0x4000 interrupt table,
# stack below 0x7c00.

.code16
katagami_probe_start:
    cli
    xor %ax, %ax
    mov %ax, %ds
    mov %ax, %es
    mov %ax, %ss
    mov $0x7c00, %sp
    cld
    ljmp $0, $(1f - katagami_probe_start + 0x7c00)
1:
    # Clear the four tables, then map the first 2 MiB onto itself with one large page.
    mov $0x1000, %di
    mov $0x2000, %cx
    rep stosw
    movw $0x2003, 0x1000
    movw $0x3003, 0x2000
    movw $0x0083, 0x3000
    # Gate 6 (invalid opcode): offset, code selector 8, present 64-bit interrupt gate.
    movw $(katagami_probe_caught - katagami_probe_start + 0x7c00), 0x4060
    movw $8, 0x4062
    movw $0x8e00, 0x4064
    # Long mode: physical address extension, page map, long mode enable, protection with paging.
    mov $0x1000, %eax
    mov %eax, %cr3
    mov %cr4, %eax
    or $0x20, %eax
    mov %eax, %cr4
    mov $0xc0000080, %ecx
    rdmsr
    or $0x100, %eax
    wrmsr
    lgdt katagami_probe_gdt_register - katagami_probe_start + 0x7c00
    lidt katagami_probe_idt_register - katagami_probe_start + 0x7c00
    mov %cr0, %eax
    or $0x80000001, %eax
    mov %eax, %cr0
    ljmp $8, $(katagami_probe_long - katagami_probe_start + 0x7c00)

.code64
katagami_probe_long:
    mov $16, %eax
    mov %eax, %ds
    mov %eax, %es
    mov %eax, %ss
    mov $0x7c00, %esp
    # Arithmetic that only 64-bit registers get right: rbx = 2^32 when it works.
    mov $0xffffffff, %ebx
    add $1, %rbx
    ud2
katagami_probe_hang:
    hlt
    jmp katagami_probe_hang

katagami_probe_caught:
    shr $32, %rbx
    cmp $1, %ebx
    jne katagami_probe_hang
    mov $(katagami_probe_token - katagami_probe_start + 0x7c00), %esi
    mov $0x3f8, %edx
    mov $(katagami_probe_token_end - katagami_probe_token), %ecx
1:  lodsb
    out %al, %dx
    loop 1b
    # The debug exit port turns 16 into exit status 33.
    mov $0xf4, %edx
    mov $16, %al
    out %al, %dx
    jmp katagami_probe_hang

katagami_probe_token: .ascii "KATAGAMI 64\n"
katagami_probe_token_end:
.balign 8
katagami_probe_gdt: .quad 0, 0x00209a0000000000, 0x0000920000000000
katagami_probe_gdt_register:
    .short 23
    .long (katagami_probe_gdt - katagami_probe_start + 0x7c00)
katagami_probe_idt_register:
    .short 0x6f
    .long 0x4000
.org katagami_probe_start + 510
.short 0xaa55
katagami_probe_end:
