/* A pseudo-terminal that the command writes to instead of files: both streams arrive as one, in order, and go into the spool of stdout from
 * here. Its standard input stays empty, since nobody types. Lines end as the command ends them: the terminal adds no carriage returns. */
#ifndef WINNOW_COMPANION_TTY_H
#define WINNOW_COMPANION_TTY_H

#include "base/err.h"
#include "sweeper/machine/job_file.h"

enum { TTY_COLUMNS = 120, TTY_LINES = 40 };

struct tty {
  int master; /* -1: there is none */
  int slave;  /* the command's; closed here once it has started */
};

/* As wide as COLUMNS and as high as LINES of the job's environment, if they are numbers. */
MUST_CHECK bool tty_open(struct tty *tty, const struct job_file *job, struct err *err);
/* In the command's process, in a session of its own: it becomes the session's terminal. */
void tty_become(int slave_fd);
void tty_started(struct tty *tty);
enum tty_moved {
  TTY_MORE,  /* there is more now */
  TTY_EMPTY, /* not now */
  TTY_END,   /* nothing will come: nobody has the terminal any more */
};
/* Moves what there is to `out_fd`, at most a few hundred KiB. */
enum tty_moved tty_move(const struct tty *tty, int out_fd);
void tty_close(struct tty *tty);

#endif
