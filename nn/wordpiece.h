/* wordpiece.h: BERT's tokenizer: text to ids of a vocab.txt. Devlin et al. 2018, tokenization.py, as the reference
 * implementations of today (Hugging Face's fast BertTokenizer) do it: NUL, U+FFFD and control characters go, white
 * space separates, a CJK ideograph is a word of its own, accents are stripped (NFD, then category Mn), letters are
 * lowered, every punctuation character (P* and ASCII's symbols) is a word of its own, and each word is cut into the
 * longest pieces the vocabulary has ("##" in front of all but the first) or becomes [UNK].
 * Thread: immutable after open; every function may be called from any thread. */
#ifndef NN_WORDPIECE_H
#define NN_WORDPIECE_H
#include <stddef.h>
#include <stdint.h>
#include "base/err.h"

enum { WORDPIECE_WORD_MAX = 100 /* code points; a longer word is [UNK] */ };

struct wordpiece_options {
	int lower_case;    /* tokenizer_config.json do_lower_case */
	int strip_accents;
	int cjk_words;     /* tokenize_chinese_chars */
	/* As the vocabulary spells them; borrowed during open. It may lack pad and mask. */
	const char *unk, *cls, *sep, *pad, *mask;
};

enum wordpiece_mode {
	WORDPIECE_PLAIN,    /* "[SEP]" in the text is the five characters: for everything documents and users say */
	WORDPIECE_SPECIALS  /* "[SEP]" in the text is the control token, as the reference tokenizers take it */
};

struct wordpiece;

/* The len bytes of a vocabulary's file (copied). vocab.txt: one token a line, the id is the line number from 0. A path
 * that ends in .json (it is not opened): the vocabulary of a Hugging Face tokenizer.json, an object from token to id. E_FORMAT: empty or not UTF-8, or names the special
 * token (unk, cls, sep) that is missing or the token whose id cannot be; E_UNSUPPORTED names a token added outside the
 * vocabulary, which other rules cut out; E_LIMIT: over 64 MiB. */
int wordpiece_open(struct wordpiece **out, const char *path, const char *text, size_t len, const struct wordpiece_options *o,
	struct err *e);
void wordpiece_close(struct wordpiece *w);                              /* NULL is allowed */
size_t wordpiece_size(const struct wordpiece *w);                       /* ids are below it */
int32_t wordpiece_id(const struct wordpiece *w, const char *token, size_t len); /* -1: not in the vocabulary */
int32_t wordpiece_cls(const struct wordpiece *w);
int32_t wordpiece_sep(const struct wordpiece *w);
/* Ids of the text, without [CLS] and [SEP]: the first max of them to ids (NULL with max 0: count alone), the number
 * that the text has to *n; when ids is given, counting stops once max is reached. Each invalid byte of UTF-8 is [UNK].
 * Work space is two buffers a call, whatever the length. E_MEMORY. */
int wordpiece_encode(const struct wordpiece *w, const char *text, size_t len, enum wordpiece_mode mode, int32_t *ids,
	size_t max, size_t *n, struct err *e);

/* A token and the bytes of the text that it comes from: a whole run of what is neither white space nor a word of its
 * own (punctuation, a CJK ideograph), so that all pieces of a word tell the word's place. */
struct wordpiece_token { int32_t id; uint32_t from, to; };
/* The tokens of the text, which are the ids of wordpiece_encode with WORDPIECE_PLAIN, with their places, which do not
 * fall from one to the next (a run of over 400 tokens, which no writing has, is cut there): at most max to out; *n:
 * written. E_MEMORY; E_LIMIT: a text of 4 GiB. */
int wordpiece_places(const struct wordpiece *w, const char *text, size_t len, struct wordpiece_token *out, size_t max,
	size_t *n, struct err *e);

#endif
