#!/bin/sh
# Prints assembler that carries files inside the program: embed.sh SYMBOL FILE... > out.s
# The symbol is a table of struct embedded_file (base/embedded.h), ended by a row of zeros; names are base names.
set -eu
sym=$1
shift
i=0
rows=
printf '\t.section .rodata\n'
for f in "$@"; do
	printf 'd%d:\t.incbin "%s"\ne%d:\t.byte 0\nn%d:\t.asciz "%s"\n' "$i" "$f" "$i" "$i" "$(basename "$f")"
	rows="$rows	.quad n$i, d$i, e$i - d$i
"
	i=$((i + 1))
done
printf '\t.section .data.rel.ro, "aw"\n\t.balign 8\n\t.globl %s\n%s:\n%s\t.quad 0, 0, 0\n' "$sym" "$sym" "$rows"
printf '\t.section .note.GNU-stack, "", @progbits\n'
