/* test_amx.c: tiles in every thread of a team, with what amx_enter promises of them. */
#include <stdatomic.h>
#include <stdint.h>
#include "base/team.h"
#include "nn/amx.h"
#include "tests/test.h"

static atomic_int wrong;

/* One product of int8 tiles: B holds groups of four along k, as TDPBUSD wants them. */
static void product(void *ctx, int member, int size)
{
	static const int K = AMX_ROW_BYTES;
	uint8_t a[AMX_ROWS][AMX_ROW_BYTES];
	int8_t b[AMX_ROWS][AMX_ROW_BYTES];
	int32_t c[AMX_ROWS][AMX_ROW_BYTES / 4];
	(void)ctx, (void)size;
	for (int i = 0; i < AMX_ROWS; i++)
		for (int j = 0; j < AMX_ROW_BYTES; j++) {
			a[i][j] = (uint8_t)(i * 31 + j * 7 + member);
			b[i][j] = (int8_t)(i * 13 - j * 5 - member);
		}
	amx_enter();
	amx_load(1, a, AMX_ROW_BYTES);
	amx_load(2, b, AMX_ROW_BYTES);
	amx_dot_us(0, 1, 2); /* tile 0 is zero */
	amx_store(0, c, AMX_ROW_BYTES);
	amx_leave();
	for (int i = 0; i < AMX_ROWS; i++)
		for (int j = 0; j < AMX_ROW_BYTES / 4; j++) {
			int sum = 0;
			for (int k = 0; k < K; k++) sum += a[i][k] * b[k / 4][4 * j + k % 4];
			if (c[i][j] != sum) atomic_fetch_add(&wrong, 1);
		}
}

TEST(amx_tiles_in_every_thread)
{
	struct team *t;
	if (!amx_ok()) test_skip("no AMX here");
	t = team_new(4);
	CHECK(t);
	for (int i = 0; i < 50; i++) team_run(t, product, NULL);
	CHECK_INT(atomic_load(&wrong), 0);
	team_free(t);
}
