/* scanner.h: the GPU that exact search may ask (index.h's scanner), as index.device and index.device_least say. Thread-safe after
 * scanner_open. */
#ifndef API_SCANNER_H
#define API_SCANNER_H
#include "api/conf.h"
#include "embed/scan.h"
#include "index/index.h"

struct scanner { struct scan *scan; struct index_scanner hooks; };

/* *s is zeros before. Afterwards hooks may be given to an index where scan is not NULL. given: of a test; NULL: the GPUs of this
 * program. Errors are those of scan_open. */
int scanner_open(struct scanner *s, const struct conf *c, const struct gpu_table *given, struct err *e);
void scanner_close(struct scanner *s);           /* after the index */

#endif
