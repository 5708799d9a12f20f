/* owner.h: one process owns a data folder. The owner holds a POSIX record lock on data/footnote.lock (it dies with the
 * process and is not inherited by children) and listens on data/footnote.sock; every other command sends its argument
 * vector there and prints what comes back.
 *
 * Wire (local, same machine, little-endian): client sends u32 length + JSON
 * {"v":1,"argv":[…],"cwd","tty":0|1,"columns"}; owner answers frames u8 stream (0 taken: no bytes, sent once before
 * the command runs; 1 stdout, 2 stderr, 3 exit) + u32 length + bytes; exit's bytes are one u8 code. The peer's user id
 * (SO_PEERCRED) must be the owner's or root. A client that closes its side cancels its command. A connection that ends
 * before "taken" was never run: ask again.
 *
 * The owner's life: owner_take -> service_open -> owner_listen -> its own command -> owner_drain -> service_close ->
 * owner_release. Whoever connects before owner_listen waits in the socket's queue. */
#ifndef API_OWNER_H
#define API_OWNER_H
#include "api/command.h"
#include "base/buf.h"
#include "base/err.h"

struct owner;
/* Takes the lock (making the folder) and the socket's name. E_BUSY when another process holds it; E_DENIED, E_IO. */
int owner_take(struct owner **out, const char *data_dir, struct err *e);
/* Serves commands on the socket from threads of its own until owner_drain or owner_release. Also reports what kept
 * owner_take from making the socket; the lock is held in any case. */
int owner_listen(struct owner *o, struct service *s, struct err *e);
/* Serves on until no command runs or *cancel is set (may be NULL: only waits), then stops listening, cancels and joins
 * what runs, and removes the socket. */
void owner_drain(struct owner *o, const volatile int *cancel);
/* Stops at once (as owner_drain with a set cancel) when owner_drain was not called, and drops the lock. Close the
 * service between the two. NULL is allowed. */
void owner_release(struct owner *o);
/* Sends a command to the owner and copies its output to `out`; what goes to stdout is put into said as well, where that is
 * not NULL, as far as it fits. *exit_code is the command's. E_NOT_FOUND: nobody listens (yet, or any more), nothing was run:
 * try owner_take again. E_USAGE: arguments that are not UTF-8; E_IO: the owner died. A reader of stdout that left: OK, exit
 * code 1, and out->broken is set. */
int owner_send(const char *data_dir, int argc, char **argv, struct out *out, struct buf *said, int *exit_code, struct err *e);

#endif
