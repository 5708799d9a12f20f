/* unicode.h: what Unicode knows of a code point, through utf8proc (the only file that includes it). */
#ifndef BASE_UNICODE_H
#define BASE_UNICODE_H
#include <stddef.h>
#include <stdint.h>
#include "base/buf.h"
#include "base/err.h"

enum uni_class {
	UNI_LETTER,   /* L* */
	UNI_MARK,     /* M* */
	UNI_NUMBER,   /* N* */
	UNI_PUNCT,    /* P* */
	UNI_SYMBOL,   /* S* */
	UNI_SPACE,    /* Z* */
	UNI_CONTROL,  /* Cc Cf Cs Co */
	UNI_UNASSIGNED /* Cn */
};
enum uni_class uni_class(uint32_t cp);
const char *uni_category(uint32_t cp);        /* two letters, "Lu"; static */
int uni_is_white_space(uint32_t cp);          /* the White_Space property (\s of the pre-tokenizers) */
int uni_is_cjk(uint32_t cp);                  /* CJK ideograph blocks as BERT's tokenizer lists them */
int uni_is_word(uint32_t cp);                 /* letter, mark or number */
uint32_t uni_tolower(uint32_t cp);            /* simple mapping */
uint32_t uni_toupper(uint32_t cp);
/* Appends the normal form of s to out. s must be valid UTF-8. OK, E_LIMIT, E_MEMORY, E_FORMAT. */
int uni_nfc(const char *s, size_t len, struct buf *out, struct err *e);
int uni_nfd(const char *s, size_t len, struct buf *out, struct err *e);
/* Appends lower-cased NFKD without marks and without what is not seen (soft hyphens, joiners, variation selectors): the
 * form two wordings are compared in. */
int uni_fold(const char *s, size_t len, struct buf *out, struct err *e);
int uni_lower(const char *s, size_t len, struct buf *out, struct err *e); /* the same, but composed and with marks */

#endif
