#include "base/work.h"

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/eventfd.h>

#include "base/file.h"
#include "base/mem.h"

enum { THREADS_MAX = 16 };

struct queue {
  struct work *first, **end;
  size_t count;
};

struct work_pool {
  struct loop *loop;
  int wake_fd; /* eventfd: something is done */
  struct loop_io *wake;
  pthread_mutex_t lock;
  pthread_cond_t more;
  bool stopping;
  struct queue waiting, finished;
  size_t queue_max;
  unsigned thread_count;
  pthread_t threads[THREADS_MAX];
};

static void put(struct queue *queue, struct work *work) {
  work->next = NULL;
  *queue->end = work;
  queue->end = &work->next;
  queue->count++;
}

static struct work *take(struct queue *queue) {
  struct work *work = queue->first;
  if (!work)
    return NULL;
  queue->first = work->next;
  if (!queue->first)
    queue->end = &queue->first;
  queue->count--;
  return work;
}

static void *thread_main(void *arg) {
  struct work_pool *pool = arg;
  pthread_mutex_lock(&pool->lock);
  for (;;) {
    struct work *work = take(&pool->waiting);
    if (!work) {
      if (pool->stopping)
        break;
      pthread_cond_wait(&pool->more, &pool->lock);
      continue;
    }
    pthread_mutex_unlock(&pool->lock);
    work->run(work);
    pthread_mutex_lock(&pool->lock);
    put(&pool->finished, work);
    uint64_t one = 1;
    ssize_t ignored UNUSED = write(pool->wake_fd, &one, sizeof one);
  }
  pthread_mutex_unlock(&pool->lock);
  return NULL;
}

static void deliver(struct work_pool *pool) {
  pthread_mutex_lock(&pool->lock);
  struct work *first = pool->finished.first;
  pool->finished = (struct queue){.end = &pool->finished.first};
  pthread_mutex_unlock(&pool->lock);
  for (struct work *work = first; work;) {
    struct work *next = work->next;
    work->done(work, work->cancelled);
    work = next;
  }
}

static void on_wake(void *ctx, int fd, unsigned ready UNUSED) {
  uint64_t count;
  ssize_t ignored UNUSED = read(fd, &count, sizeof count);
  deliver(ctx);
}

struct work_pool *work_pool_new(struct loop *loop, unsigned threads, size_t queue_max, struct err *err) {
  struct work_pool *pool = mem_zalloc(sizeof *pool);
  if (!pool) {
    err_no_memory(err);
    return NULL;
  }
  pool->loop = loop;
  pool->queue_max = queue_max;
  pool->waiting.end = &pool->waiting.first;
  pool->finished.end = &pool->finished.first;
  pthread_mutex_init(&pool->lock, NULL);
  pthread_cond_init(&pool->more, NULL);
  pool->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  if (pool->wake_fd >= 0)
    pool->wake = loop_io_new(loop, pool->wake_fd, LOOP_READ, on_wake, pool);
  if (!pool->wake) {
    err_errno(err, errno, "the thread pool could not be made");
    work_pool_free(pool);
    return NULL;
  }
  /* Signals belong to the loop's thread. */
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  int failed = 0;
  for (unsigned i = 0; i < MIN_OF(threads, (unsigned)THREADS_MAX) && !failed; i++) {
    failed = pthread_create(&pool->threads[i], NULL, thread_main, pool);
    if (!failed)
      pool->thread_count++;
  }
  pthread_sigmask(SIG_SETMASK, &before, NULL);
  if (!pool->thread_count) {
    err_errno(err, failed, "no thread could be started");
    work_pool_free(pool);
    return NULL;
  }
  return pool;
}

/* Under the lock. */
static bool fits(const struct work_pool *pool, size_t count, struct err *err) {
  if (pool->stopping)
    return err_set(err, ERR_UNAVAILABLE, "the service is stopping");
  return pool->waiting.count + count <= pool->queue_max ||
         err_set(err, ERR_OVERLOADED, "%zu pieces of work are waiting already", pool->queue_max);
}

bool work_has_room(struct work_pool *pool, size_t count, struct err *err) {
  pthread_mutex_lock(&pool->lock);
  bool ok = fits(pool, count, err);
  pthread_mutex_unlock(&pool->lock);
  return ok;
}

bool work_submit(struct work_pool *pool, struct work *work, struct err *err) {
  pthread_mutex_lock(&pool->lock);
  bool ok = fits(pool, 1, err);
  if (ok) {
    work->cancelled = false;
    put(&pool->waiting, work);
    pthread_cond_signal(&pool->more);
  }
  pthread_mutex_unlock(&pool->lock);
  return ok;
}

void work_pool_stop(struct work_pool *pool) {
  if (!pool || pool->stopping)
    return;
  pthread_mutex_lock(&pool->lock);
  pool->stopping = true;
  struct queue rest = {.end = &rest.first};
  for (struct work *work; (work = take(&pool->waiting));) {
    work->cancelled = true;
    put(&rest, work);
  }
  pthread_cond_broadcast(&pool->more);
  pthread_mutex_unlock(&pool->lock);
  for (unsigned i = 0; i < pool->thread_count; i++)
    pthread_join(pool->threads[i], NULL);
  deliver(pool);
  for (struct work *work; (work = take(&rest));)
    work->done(work, true);
}

void work_pool_free(struct work_pool *pool) {
  if (!pool)
    return;
  work_pool_stop(pool);
  loop_io_free(pool->wake);
  fd_close(&pool->wake_fd);
  pthread_cond_destroy(&pool->more);
  pthread_mutex_destroy(&pool->lock);
  mem_free(pool);
}
