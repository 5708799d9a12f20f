/* samples.h: PRIVATE to index/. Pieces of an erased document, and whether any of them is in a file or a record.
 *
 *   samples_init -> samples_add … samples_add_text -> samples_seal -> samples_scan, samples_scan_file -> samples_clear
 *
 * A piece has 16 or 32 bytes: shorter ones would be found by chance. One thread at a time. */
#ifndef INDEX_SAMPLES_H
#define INDEX_SAMPLES_H
#include <stddef.h>
#include <stdint.h>
#include "base/buf.h"
#include "base/err.h"

enum sample_kind { SAMPLE_NAME, SAMPLE_TEXT, SAMPLE_VECTOR };   /* id, source, title, meta; text; vectors */
enum { SEEN_RAW = 1, SEEN_ALIVE = 2 };                          /* marks for where a sample was seen */

struct sample { size_t off; uint8_t len, kind, seen; uint32_t next; };
struct samples {
	struct buf bytes;
	struct sample *at; size_t n, cap;    /* at[0] is unused: 0 ends a chain */
	uint32_t *bucket; size_t bucket_mask;
	uint64_t *filter;
};

void samples_init(struct samples *s);
/* Takes the beginning and the end of the bytes; nothing where they are fewer than 16 or all alike. E_MEMORY, E_LIMIT. */
int samples_add(struct samples *s, const void *data, size_t len, enum sample_kind kind, struct err *e);
/* Pieces from all over a text, 64 bytes apart, further in long ones. */
int samples_add_text(struct samples *s, const char *text, size_t len, struct err *e);
int samples_seal(struct samples *s, struct err *e);             /* E_MEMORY; then nothing is added any more */
/* Marks every sample that occurs in the bytes. */
void samples_scan(struct samples *s, const void *data, size_t len, uint8_t mark);
int samples_scan_file(struct samples *s, int fd, uint8_t mark, uint64_t *bytes, struct err *e); /* from its beginning */
void samples_clear(struct samples *s);

#endif
