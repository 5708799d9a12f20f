/* The description of the endpoints: every route is in it and nothing else, and what it refers to is there. */
#include "api/openapi.h"
#include "api/route.h"
#include "tests/test.h"

TEST(openapi_describes_every_route_and_nothing_else)
{
	struct err e;
	char text[160];
	cJSON *told, *o;
	const cJSON *x;
	int described, n = 0;
	CHECK_OK(openapi_description(&told, &e), e);
	for (size_t i = 0; openapi_row(told, i, text, sizeof text, &described); i++, n++)
		CHECK_MSG(described, "%s is a route of api/route.c that api/www/api.json says nothing of: add a row to its \"operations\"", text);
	cJSON_ArrayForEach(x, json_get(told, "operations")) {
		int is_route = 0;
		for (size_t i = 0; openapi_row(told, i, text, sizeof text, &described); i++) is_route |= !strcmp(text, x->string);
		CHECK_MSG(is_route, "%s stands in api/www/api.json, and is no route of api/route.c", x->string);
		for (int k = 0; k < 2; k++) {
			const char *name = json_str(x, k ? "body" : "reply", NULL);
			CHECK_MSG(!name || json_get(json_get(told, "schemas"), name), "%s: there is no schema %s", x->string, name);
		}
	}
	CHECK_OK(openapi_make(&o, &e), e);
	cJSON_ArrayForEach(x, json_get(o, "paths")) n -= cJSON_GetArraySize(x);
	CHECK_INT(n, 0);
	cJSON_Delete(o);
	cJSON_Delete(told);
}
