/* One at a time: a BLAS that is built for one thread keeps its scratch memory in one place, and two threads inside of it spoil each other's
 * results. Held for single calls, so that who waits waits for milliseconds. Dot products need no scratch memory, and no lock. */
#ifndef WINNOW_SAMPLER_BLAS_H
#define WINNOW_SAMPLER_BLAS_H

void blas_enter(void);
void blas_leave(void);

#endif
