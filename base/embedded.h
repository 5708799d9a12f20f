/* embedded.h: files carried inside the program, put there by tools/embed.sh at build time. */
#ifndef BASE_EMBEDDED_H
#define BASE_EMBEDDED_H
#include <stddef.h>

struct embedded_file {      /* a table ends with a row whose name is NULL */
	const char *name;   /* base name of the file */
	const char *data;   /* its bytes, a NUL behind them */
	size_t len;         /* bytes without that NUL */
};
extern const struct embedded_file prompt_files[];  /* generate/prompts/ */
extern const struct embedded_file www_files[];     /* api/www/ */
extern const struct embedded_file reader_files[];  /* embed/reader_model/; empty when the program was built without */

#endif
