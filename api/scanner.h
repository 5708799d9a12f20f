/* scanner.h: the GPU that exact search may ask (index.h's scanner), as index.device says. Thread-safe after scanner_open. */
#ifndef API_SCANNER_H
#define API_SCANNER_H
#include "api/conf.h"
#include "embed/scan.h"
#include "index/index.h"

struct scanner { struct scan *scan; struct index_scanner hooks; };

/* *s is zeros before. Afterwards hooks may be given to an index where scan is not NULL. Errors are those of scan_open, with
 * index.device = cuda alone; else the log tells what went wrong, and there is none. */
int scanner_open(struct scanner *s, const struct conf *c, struct err *e);
void scanner_close(struct scanner *s);           /* after the index */

#endif
