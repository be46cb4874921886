/* One stream of the job's output: a file the command appends to, from which pieces are sent in order. What the service has taken is punched
 * out of the file, so that a long job does not fill the disk twice. */
#ifndef WINNOW_COMPANION_SPOOL_H
#define WINNOW_COMPANION_SPOOL_H

#include "base/err.h"
#include "sweeper/companion/marks.h"

enum { SPOOL_PIECE_MAX = 1024 * 1024, SPOOL_MARKS = 512 };

struct spool {
  const char *name; /* "stdout" or "stderr" */
  int write_fd;     /* O_APPEND, the command's */
  int read_fd;
  int64_t sent;    /* everything before was taken by the service, or given up */
  int64_t skipped; /* bytes just before `sent` that were given up; told with the next piece */
  int64_t kept;    /* bytes from `sent` on that may be on their way: they stay until they are taken */
  int64_t gap;     /* bytes behind those that were given up */
  int64_t room_to; /* the disk has room for the file up to here; 0: nothing was kept */
  int64_t room_due_ms;
  struct marks marks;
  struct mark mark_room[SPOOL_MARKS];
};

MUST_CHECK bool spool_open(struct spool *spool, const char *dir, const char *name, struct err *err);
void spool_close(struct spool *spool);
/* Keeps beside the file when what is not sent was seen, for a companion that may have to come after us: `wall_ms` is the same moment as
 * `now_ms`. */
MUST_CHECK bool spool_keep_times(const struct spool *spool, const char *dir, int64_t now_ms, int64_t wall_ms, struct err *err);
/* Goes on from where an earlier companion stood, as far as the file tells: what was punched out was taken or given up; and with the times
 * that it has kept. */
void spool_resume(struct spool *spool, const char *dir, int64_t now_ms, int64_t wall_ms);
int64_t spool_size(const struct spool *spool);
/* When it was last written to, by the clock on the wall. */
int64_t spool_written_ms(const struct spool *spool);
/* Where the disk has little left, keeps some of it for what is printed next: what a job says of a full disk is worth most. To the file
 * system that is a write, so spool_written_ms() is asked before. */
void spool_keep_room(struct spool *spool, int64_t now_ms);
/* Bytes not sent yet. */
int64_t spool_waiting(const struct spool *spool);
/* Those of them that are not on their way. */
int64_t spool_idle(const struct spool *spool);
/* What has come since the last call was seen now. */
void spool_note(struct spool *spool, int64_t now_ms);
/* The length of the next piece, which begins at `sent` in `read_fd`, and when it was seen; 0 when there is none. */
size_t spool_piece(const struct spool *spool, int64_t *ret_seen_ms);
/* So many bytes are on their way now. */
void spool_sending(struct spool *spool, size_t n);
/* The service has everything before `offset`; if that is less than we believed, what is still there is sent again. */
void spool_taken(struct spool *spool, int64_t offset);
/* Gives up the oldest bytes that are not on their way until at most `keep` of such wait. */
void spool_cut(struct spool *spool, int64_t keep);

#endif
