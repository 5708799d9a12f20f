/* screen.h: what people see: text made safe for one line of a terminal, sizes and times in their units, progress. */
#ifndef API_SCREEN_H
#define API_SCREEN_H
#include <stddef.h>
#include <stdint.h>
#include "api/command.h"
#include "base/buf.h"

/* Appends text as one line: white space becomes one blank, control characters (escape sequences of a hostile document)
 * are dropped, what is not UTF-8 becomes U+FFFD, and after `chars` code points (0: no limit) it is cut with "…". */
int screen_line(struct buf *out, const char *text, size_t len, size_t chars);
/* The same, keeping line breaks. */
int screen_text(struct buf *out, const char *text, size_t len);
void screen_bytes(char out[24], uint64_t bytes);      /* "1.4 MB", powers of 1000 */
void screen_seconds(char out[24], double seconds);    /* "3.2 s", "4:05 min", "2:10 h" */
int screen_columns(int fd);                           /* width of the terminal at fd, 80 when unknown */

/* One line on the terminal that is drawn over itself. Does nothing where stderr is no terminal or with -q. */
struct progress { struct out *out; int on, shown; uint64_t next_us; };
void progress_init(struct progress *p, const struct command_call *c);
int progress_due(struct progress *p);                 /* 1 about ten times a second while it is on: time to draw */
void progress_draw(struct progress *p, double share, const char *text);   /* share 0 … 1; <0: no bar */
void progress_hide(struct progress *p);               /* before other output, and at the end */

#endif
