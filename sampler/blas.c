#include "sampler/blas.h"

#include <pthread.h>

static pthread_mutex_t turn = PTHREAD_MUTEX_INITIALIZER;

void blas_enter(void) {
  pthread_mutex_lock(&turn);
}

void blas_leave(void) {
  pthread_mutex_unlock(&turn);
}
