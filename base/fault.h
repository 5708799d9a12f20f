/* fault.h: named places where tests make the process die or fail. Off (one load and a branch) unless the environment
 * says FOOTNOTE_FAULT="name:n" (SIGKILL at the n-th pass of that point, n from 1) or
 * FOOTNOTE_FAULT="name:n:fail" (fault_fails returns 1 there, once). */
#ifndef BASE_FAULT_H
#define BASE_FAULT_H

void fault_point(const char *name);     /* may not return */
int fault_fails(const char *name);      /* 1: pretend the operation failed */
void fault_alloc_after(long n);     /* the n-th mem_* call from now returns NULL, once; 0 switches off. Tests only */

#endif
