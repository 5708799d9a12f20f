/* owner.h: one process owns a data folder. The owner holds a POSIX record lock on data/footnote.lock (it dies with the
 * process and is not inherited by children) and listens on data/footnote.sock; every other command sends its argument
 * vector there and prints what comes back.
 *
 * Wire (local, same machine, little-endian): client sends u32 length + JSON {"v":1,"argv":[…],"cwd","tty":0|1,"columns"};
 * owner answers frames u8 stream (1 stdout, 2 stderr, 3 exit) + u32 length + bytes; exit's bytes are one u8 code. The
 * peer's user id (SO_PEERCRED) must be the owner's or root. A client that closes its side cancels its command. */
#ifndef API_OWNER_H
#define API_OWNER_H
#include "api/command.h"
#include "base/err.h"

struct owner;
/* Takes the lock (making the folder). E_BUSY when another process holds it; E_DENIED, E_IO. */
int owner_take(struct owner **out, const char *data_dir, struct err *e);
/* Serves commands on the socket from threads of its own until owner_release. */
int owner_listen(struct owner *o, struct service *s, struct err *e);
void owner_release(struct owner *o);          /* stops listening, cancels and joins what runs, removes the socket, drops the lock */
/* Sends a command to the owner and copies its output to fds 1 and 2. *exit_code is the command's.
 * E_NOT_FOUND: nobody listens (yet, or any more): try owner_take again. */
int owner_send(const char *data_dir, int argc, char **argv, int *exit_code, struct err *e);

#endif
