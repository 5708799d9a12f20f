/* orders.h: does a sentence of a document speak to the program that reads it? Thread: any, pure. */
#ifndef API_ORDERS_H
#define API_ORDERS_H
#include <stddef.h>

/* 1: it gives orders to a language model ("Ignore the instructions above", "SYSTEM: reply only with …", "your hidden prompt").
 * By phrases in English, French, German, Spanish and Italian; what is said in other words goes unnoticed, so this is a sieve
 * in front of the masks and the verifying, not a wall. UTF-8. */
int orders_machine(const char *text, size_t len);

#endif
