/* device.h: of embed/ alone. What the settings say of where to compute. Thread-safe; no state. */
#ifndef EMBED_DEVICE_H
#define EMBED_DEVICE_H
#include "nn/gpu.h"

/* device NULL or "cpu": *out is NULL. "auto": the GPUs' table where there is one that can be used, else NULL; never an error.
 * "cuda": the table, and *must is 1. given: the table to choose; NULL: gpu_choose's. E_USAGE: no such device; E_UNSUPPORTED. */
int device_choose(const struct gpu_table **out, int *must, const char *device, const struct gpu_table *given, struct err *e);

#endif
