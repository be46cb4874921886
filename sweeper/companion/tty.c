#include "sweeper/companion/tty.h"

#include <fcntl.h>
#include <sys/ioctl.h>
#include <termios.h>

#include "base/file.h"

enum { SIZE_MAX_CELLS = 10000, READS_MAX = 16 };

static unsigned short size_from(const struct job_file *job, const char *variable, unsigned short otherwise) {
  size_t n = strlen(variable);
  int64_t value;
  for (size_t i = 0; i < job->env_count; i++)
    if (strncmp(job->env[i], variable, n) == 0 && job->env[i][n] == '=' && str_to_i64(str_of(job->env[i] + n + 1), &value) && value > 0 &&
        value <= SIZE_MAX_CELLS)
      return (unsigned short)value;
  return otherwise;
}

static bool set_up(int slave, const struct job_file *job) {
  struct winsize size = {.ws_row = size_from(job, "LINES", TTY_LINES), .ws_col = size_from(job, "COLUMNS", TTY_COLUMNS)};
  struct termios mode;
  if (tcgetattr(slave, &mode) != 0)
    return false;
  mode.c_oflag &= ~(tcflag_t)ONLCR;
  mode.c_lflag &= ~(tcflag_t)ECHO;
  return tcsetattr(slave, TCSANOW, &mode) == 0 && ioctl(slave, TIOCSWINSZ, &size) == 0;
}

bool tty_open(struct tty *tty, const struct job_file *job, struct err *err) {
  char name[128];
  *tty = (struct tty){.master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC | O_NONBLOCK), .slave = -1};
  if (tty->master >= 0 && grantpt(tty->master) == 0 && unlockpt(tty->master) == 0 && ptsname_r(tty->master, name, sizeof name) == 0)
    tty->slave = open(name, O_RDWR | O_NOCTTY | O_CLOEXEC);
  if (tty->slave >= 0 && set_up(tty->slave, job))
    return true;
  err_errno(err, errno, "cannot make a pseudo-terminal");
  tty_close(tty);
  return false;
}

void tty_become(int slave_fd) {
  ioctl(slave_fd, TIOCSCTTY, 0);
}

void tty_started(struct tty *tty) {
  fd_close(&tty->slave);
}

enum tty_moved tty_move(const struct tty *tty, int out_fd) {
  char bytes[16 * 1024];
  struct err err;
  for (int i = 0; i < READS_MAX; i++) {
    ssize_t n = read(tty->master, bytes, sizeof bytes);
    if (n < 0 && errno == EINTR)
      continue;
    if (n < 0 && errno == EAGAIN)
      return TTY_EMPTY;
    if (n <= 0) /* EIO: the last process that had it has ended */
      return TTY_END;
    if (!fd_write_all(out_fd, bytes, (size_t)n, &err))
      return TTY_EMPTY; /* a full disk: it is lost, as it would be to a command that writes by itself */
  }
  return TTY_MORE;
}

void tty_close(struct tty *tty) {
  fd_close(&tty->slave);
  fd_close(&tty->master);
}
