/* Allocation with a seam: a test may make the n-th allocation fail. Every caller checks. */
#ifndef WINNOW_BASE_MEM_H
#define WINNOW_BASE_MEM_H

#include "base/base.h"

/* NULL when there is no memory. A size of 0 gives a pointer that may be freed. */
MUST_CHECK void *mem_alloc(size_t size);
MUST_CHECK void *mem_zalloc(size_t size);
/* As calloc(): zeroed, NULL also when count * size does not fit. */
MUST_CHECK void *mem_array(size_t count, size_t size);
/* On failure the old block stays valid. */
MUST_CHECK void *mem_resize(void *ptr, size_t count, size_t size);
MUST_CHECK char *mem_strdup(const char *text);
MUST_CHECK char *mem_strndup(const char *text, size_t n);
/* Accepts NULL. */
void mem_free(void *ptr);
/* For a program that runs for long: large blocks go back to the system when they are freed. Else the first one freed raises the size from
 * which that is so, and what a burst of work took stays. */
void mem_give_back(void);
/* What small blocks left when they were freed goes back as well, if much has come together since the last time. Takes a moment: for now and
 * then, from one thread. */
void mem_trim(void);
/* What of our memory is in RAM, in bytes; 0 when the system does not tell. */
size_t mem_resident(void);
/* For memory that held a secret. */
void mem_wipe(void *ptr, size_t size);

/* For CLEANUP(): frees what a `T *` variable points to. */
void mem_cleanup(void *pointer_to_pointer);
#define AUTO_FREE CLEANUP(mem_cleanup)

/* Test seam. The n-th allocation from now on fails (1 is the next one), and, when `sticky`, all after it.
 * 0 switches failing off. Returns how many allocations were made since the last call. */
unsigned long mem_fail_at(unsigned long n, bool sticky);
/* Has one failed since? */
bool mem_has_failed(void);

#endif
