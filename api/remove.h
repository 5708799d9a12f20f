/* remove.h: takes a document out together with what its file held inside: the attachments of a mail are documents of
 * their own (ingest_parts), and go with it. Thread: the caller's; no write may be open in it. */
#ifndef API_REMOVE_H
#define API_REMOVE_H
#include "api/service.h"

struct removal {
	struct ingest_part *docs;         /* parts first, the document itself last */
	struct index_erasure *receipts;   /* of each, after remove_erase */
	size_t n;
};
/* What taking d out takes out; all in the arena. E_MEMORY and the store's. */
int remove_plan(struct removal *m, struct snapshot *s, const struct doc *d, struct arena *a, struct err *e);
/* In one commit. E_NOT_FOUND (gone since), E_DENIED (one is on hold): nothing is changed. */
int remove_delete(struct index *x, const struct removal *m, struct err *e);
/* One after the other, the document last, so that a stop in between can be made good by the same call. E_NOT_FOUND,
 * E_DENIED: as above, and E_CONFLICT of folders_erase_begin; index_erase's others: those before it are erased. */
int remove_erase(struct service *s, struct removal *m, struct err *e);

#endif
