/* base64.c: bytes as text (base64.h): three bytes to four characters, the last group padded. Threads: no state.
 * Failure: the buffer's. */
#include "base/base64.h"
#include <stdint.h>

int base64_put(struct buf *out, const void *data, size_t len)
{
	static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	const uint8_t *p = data;
	for (size_t i = 0; i < len; i += 3) {
		size_t left = len - i;
		uint32_t v = (uint32_t)p[i] << 16 | (left > 1 ? (uint32_t)p[i + 1] << 8 : 0) | (left > 2 ? p[i + 2] : 0);
		char four[4] = { digits[v >> 18], digits[v >> 12 & 63], left > 1 ? digits[v >> 6 & 63] : '=',
			left > 2 ? digits[v & 63] : '=' };
		buf_put(out, four, sizeof four);
	}
	return buf_failed(out);
}
