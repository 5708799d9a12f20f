/* openapi.h: what the service answers to, as an OpenAPI 3.1 document. */
#ifndef API_OPENAPI_H
#define API_OPENAPI_H
#include "base/json.h"

/* A new document (caller deletes) of every endpoint of route.c, told of by api/www/api.json. E_BUG: that file is no
 * JSON; E_MEMORY. Thread-safe. */
int openapi_make(cJSON **out, struct err *e);
/* Row i of the table of endpoints as "METHOD PATH" in text, and whether the file describes it; 0 past the end. */
int openapi_row(const cJSON *description, size_t i, char *text, size_t size, int *described);
/* The file itself, parsed; caller deletes. E_BUG, E_MEMORY. */
int openapi_description(cJSON **out, struct err *e);

#endif
