#include "storage/pg/pq.h"

#include "storage/pg/pg_private.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "storage/pg/pg_link.h"
#include "storage/pg/pg_processes.h"

enum {
  POLL_MS = 20,           /* how often a starting server's status file is read */
  OLD_PATIENCE_MS = 5000, /* an old server was told to go by the kernel; after this we tell it too */
  BACKOFF_MIN_MS = 200,
  BACKOFF_MAX_MS = 10000,
  STEADY_MS = 60000, /* up for this long: earlier deaths are forgotten */
  STARTS_MAX = 3,    /* without ever having been up */
  STOP_MS = 20000,
  FORCE_MS = 8000, /* told to end at once, a server gives its own processes 5 s */
  PASSWORD_MS = 30000,
};
#define LOG_BYTES_MAX ((off_t)(8 * MIB))

struct pg_private {
  struct loop *loop;
  struct work_pool *work_pool;
  struct arena arena; /* of conf's texts */
  struct pg_private_conf conf;
  pg_private_fn *on_change;
  void *ctx;
  enum pg_private_state state;
  struct loop_timer *timer; /* polling, backoff, patience: one at a time, by state */
  struct work work;
  struct subproc_stop stop; /* of what the thread makes */
  bool work_out;
  bool work_ok;
  struct err work_err;
  struct pg_place place;
  pid_t old_pid;
  int64_t old_since_ms;
  pid_t pid;
  int pid_fd;
  struct loop_io *exit_watch;
  bool ever_up, stop_asked, freed;
  unsigned deaths; /* since it was last steady */
  int64_t up_since_ms;
  int stop_step;
  struct err reason;
  char *conninfo;
  struct pg_target target;
  struct pg_link link; /* to replace the password */
  bool link_ready;
  struct loop_defer stopping;
  bool first_tried; /* the template's password did not work: it has been replaced before */
};

static void enter(struct pg_private *server, enum pg_private_state state);

const char *pg_private_state_name(enum pg_private_state state) {
  static const char *const names[] = {
      [PG_PRIVATE_IDLE] = "idle",         [PG_PRIVATE_PREPARING] = "preparing", [PG_PRIVATE_WAITING] = "waiting",
      [PG_PRIVATE_STARTING] = "starting", [PG_PRIVATE_PASSWORD] = "password",   [PG_PRIVATE_UP] = "up",
      [PG_PRIVATE_DOWN] = "down",         [PG_PRIVATE_STOPPING] = "stopping",   [PG_PRIVATE_STOPPED] = "stopped",
      [PG_PRIVATE_FAILED] = "failed",
  };
  return names[state];
}

static void fail(struct pg_private *server, const struct err *reason) {
  server->reason = *reason;
  enter(server, PG_PRIVATE_FAILED);
}

/* For the reason noted: started again after a while, but one that never came up only a few times. */
static void died(struct pg_private *server) {
  server->deaths++;
  enter(server, !server->ever_up && server->deaths >= STARTS_MAX ? PG_PRIVATE_FAILED : PG_PRIVATE_DOWN);
}

/* ---- the server's log ---- */

static bool log_path(const struct pg_private *server, const char *name, struct buf *out) {
  buf_printf(out, "%s/%s", server->place.dir, name);
  return buf_ok(out, NULL);
}

/* Appended to; a large one is put aside before a start. */
static int open_log(const struct pg_private *server) {
  AUTO_BUF struct buf path = BUF_INIT(8 * KIB), old = BUF_INIT(8 * KIB);
  if (!log_path(server, "pg.log", &path) || !log_path(server, "pg.log.1", &old))
    return -1;
  struct stat st;
  if (stat(path.p, &st) == 0 && st.st_size > LOG_BYTES_MAX && rename(path.p, old.p) != 0)
    log_warn("storage", NULL, "cannot put %s aside", path.p);
  return open(path.p, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
}

/* The last line of the log that tells of an error. */
static void last_complaint(const struct pg_private *server, char *out, size_t room) {
  AUTO_BUF struct buf path = BUF_INIT(8 * KIB);
  char tail[8192];
  out[0] = 0;
  if (!log_path(server, "pg.log", &path))
    return;
  AUTO_FD int fd = open(path.p, O_RDONLY | O_CLOEXEC);
  off_t size = fd >= 0 ? lseek(fd, 0, SEEK_END) : 0;
  ssize_t n = fd >= 0 ? pread(fd, tail, sizeof tail, MAX_OF(size - (off_t)sizeof tail, (off_t)0)) : 0;
  struct str rest = str_n(tail, n > 0 ? (size_t)n : 0), line;
  while (str_split(&rest, '\n', &line)) {
    size_t at = str_find_str(line, STR("FATAL:"));
    if (at == SIZE_MAX)
      at = str_find_str(line, STR("PANIC:"));
    if (at != SIZE_MAX)
      snprintf(out, room, "%.*s", STR_ARG(str_trim(str_slice(line, at + 6, line.n))));
  }
}

/* ---- the child ---- */

/* A session that gave its memory back after each transaction would ask the kernel for the same pages in the next one. */
static char **server_environment(void) {
  static char path[] = "PATH=/usr/bin:/bin", locale[] = "LC_ALL=C", zone[] = "TZ=UTC", kept[] = "MALLOC_TRIM_THRESHOLD_=4194304",
              step[] = "MALLOC_TOP_PAD_=262144", large[] = "MALLOC_MMAP_THRESHOLD_=2097152";
  static char *variables[] = {path, locale, zone, kept, step, large, NULL};
  return variables;
}

static NORETURN void child_main(const struct pg_private *server, int log_fd, pid_t parent) {
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, NULL);
  for (int signal_number = 1; signal_number < NSIG; signal_number++)
    signal(signal_number, SIG_DFL);
  int null = open("/dev/null", O_RDONLY);
  if (null < 0 || dup2(null, 0) < 0 || dup2(log_fd, 1) < 0 || dup2(log_fd, 2) < 0)
    _exit(127);
  setsid(); /* a Ctrl-C at the terminal is for the service, which then stops us in order */
  umask(077);
  /* Changing the user clears the signal, so it is set after that; and the parent may have gone before. */
  struct run_as who = server->place.who;
  who.dir = server->place.data;
  if (chdir("/") != 0 || !run_as_enter(&who) || prctl(PR_SET_PDEATHSIG, SIGQUIT) != 0 || getppid() != parent)
    _exit(126);
  char program[600];
  snprintf(program, sizeof program, "%s/postgres", server->place.programs.dir);
  union {
    const char *in[4];
    char *out[4]; /* exec does not write to them */
  } args = {.in = {program, "-D", server->place.is_hidden ? SUBPROC_DIR : server->place.data, NULL}};
  execve(program, args.out, server_environment());
  _exit(127);
}

static void on_exit_event(void *ctx, int fd UNUSED, unsigned ready UNUSED);

static bool spawn(struct pg_private *server, struct err *err) {
  AUTO_FD int log_fd = open_log(server);
  if (log_fd < 0)
    return err_errno(err, errno, "cannot write the database's log in %s", server->place.dir);
  pid_t parent = getpid();
  pid_t pid = fork();
  if (pid == 0)
    child_main(server, log_fd, parent);
  if (pid < 0)
    return err_errno(err, errno, "cannot start the database");
  server->pid = pid;
  server->pid_fd = (int)syscall(SYS_pidfd_open, pid, 0); /* close-on-exec by itself */
  if (server->pid_fd >= 0)
    server->exit_watch = loop_io_new(server->loop, server->pid_fd, LOOP_READ, on_exit_event, server);
  if (server->exit_watch)
    return true;
  int reason = errno;
  kill(pid, SIGKILL);
  waitpid(pid, NULL, 0);
  fd_close(&server->pid_fd);
  server->pid = 0;
  return err_errno(err, reason, "cannot watch the database's process");
}

/* True when it has ended. */
static bool reap(struct pg_private *server, int *ret_status, bool wait) {
  pid_t got;
  do
    got = waitpid(server->pid, ret_status, wait ? 0 : WNOHANG);
  while (got < 0 && errno == EINTR);
  if (got == 0)
    return false;
  loop_io_free(server->exit_watch);
  server->exit_watch = NULL;
  fd_close(&server->pid_fd);
  server->pid = 0;
  return true;
}

static void close_link(struct pg_private *server) {
  if (!server->link_ready)
    return;
  for (struct list_node *node; (node = list_pop_front(&server->link.flight));)
    pg_op_free(LIST_ENTRY(node, struct pg_op, node));
  pg_link_release(&server->link);
  pg_target_release(&server->target);
  server->link_ready = false;
}

static void on_exit_event(void *ctx, int fd UNUSED, unsigned ready UNUSED) {
  struct pg_private *server = ctx;
  int status = 0;
  if (!reap(server, &status, false))
    return;
  close_link(server);
  if (server->state == PG_PRIVATE_STOPPING) {
    enter(server, PG_PRIVATE_STOPPED);
    return;
  }
  char complaint[300];
  last_complaint(server, complaint, sizeof complaint);
  if (WIFSIGNALED(status))
    err_set(&server->reason, ERR_UNAVAILABLE, "the database was ended by signal %d", WTERMSIG(status));
  else
    err_set(&server->reason, ERR_UNAVAILABLE, "the database ended with code %d%s%s", WEXITSTATUS(status), complaint[0] ? ": " : "",
            complaint);
  err_hint(&server->reason, "its log is %.200s/pg.log", server->place.dir);
  if (server->state == PG_PRIVATE_UP && loop_now_ms(server->loop) - server->up_since_ms > STEADY_MS)
    server->deaths = 0;
  died(server);
}

/* ---- preparing ---- */

static void prepare(struct work *work) {
  struct pg_private *server = CONTAINER_OF(work, struct pg_private, work);
  server->old_pid = 0;
  server->work_ok = pg_place_ready(&server->conf.place, &server->place, &server->old_pid, &server->work_err);
}

static void prepared(struct work *work, bool cancelled) {
  struct pg_private *server = CONTAINER_OF(work, struct pg_private, work);
  server->work_out = false;
  if (server->freed) {
    pg_private_free(server);
    return;
  }
  if (server->stop_asked || cancelled)
    enter(server, PG_PRIVATE_STOPPED);
  else if (!server->work_ok)
    fail(server, &server->work_err);
  else
    enter(server, server->old_pid ? PG_PRIVATE_WAITING : PG_PRIVATE_STARTING);
}

static void enter_preparing(struct pg_private *server) {
  struct err err;
  server->work = (struct work){.run = prepare, .done = prepared};
  if (work_submit(server->work_pool, &server->work, &err))
    server->work_out = true;
  else
    fail(server, &err);
}

/* ---- waiting for an old server ---- */

static void enter_waiting(struct pg_private *server) {
  log_info("storage", NULL, "waiting for the database's old server, process %ld, to go", (long)server->old_pid);
  pg_processes_signal(server->place.data, SIGCONT);
  server->old_since_ms = loop_now_ms(server->loop);
  loop_timer_start(server->timer, POLL_MS);
}

static void poll_old(struct pg_private *server) {
  if (pg_processes_server(server->place.data) != server->old_pid) {
    enter(server, PG_PRIVATE_PREPARING);
    return;
  }
  int64_t waited = loop_now_ms(server->loop) - server->old_since_ms;
  if (waited > OLD_PATIENCE_MS) {
    pg_processes_signal(server->place.data, SIGQUIT); /* nobody else can own it: its directory is locked by us */
    server->old_since_ms = loop_now_ms(server->loop);
  }
  loop_timer_start(server->timer, POLL_MS);
}

/* ---- starting ---- */

/* The server writes its state into the eighth line of this file. */
static bool says_ready(const struct pg_private *server) {
  AUTO_BUF struct buf path = BUF_INIT(8 * KIB), text = BUF_INIT(8 * KIB);
  buf_printf(&path, "%s/postmaster.pid", server->place.data);
  if (!buf_ok(&path, NULL) || access(path.p, R_OK) != 0 || !file_read(path.p, &text, NULL))
    return false;
  struct str rest = buf_str(&text), line;
  int64_t pid = 0;
  for (int i = 1; str_split(&rest, '\n', &line); i++) {
    if (i == 1 && (!str_to_i64(str_trim(line), &pid) || pid != server->pid))
      return false;
    if (i == 8)
      return str_is(str_trim(line), "ready");
  }
  return false;
}

/* That it cannot be started may pass, as descriptors or processes that have run out do. */
static void enter_starting(struct pg_private *server) {
  server->first_tried = false;
  pg_processes_signal(server->place.data, SIGQUIT); /* what a killed server left would be in its way */
  if (spawn(server, &server->reason))
    loop_timer_start(server->timer, POLL_MS);
  else
    died(server);
}

static void poll_start(struct pg_private *server) {
  if (!says_ready(server))
    loop_timer_start(server->timer, POLL_MS);
  else
    enter(server, server->place.first_secret[0] ? PG_PRIVATE_PASSWORD : PG_PRIVATE_UP);
}

/* ---- a new cluster's password ---- */

static bool write_conninfo(const struct pg_private *server, const char *password, struct buf *out) {
  buf_printf(out, "host=%s port=5432 user=winnow dbname=postgres password=%s sslmode=disable", server->place.socket_dir, password);
  return buf_ok(out, NULL);
}

static void connect_for_password(struct pg_private *server);

static void password_is_set(struct pg_private *server) {
  struct err err;
  close_link(server);
  if (!pg_place_forget_first(&server->place, &err)) {
    kill(server->pid, SIGQUIT);
    log_warn("storage", NULL, "%s", err.text);
    return;
  }
  mem_wipe(server->place.first_secret, sizeof server->place.first_secret);
  enter(server, PG_PRIVATE_UP);
}

static void on_link_up(void *ctx, struct pg_link *link) {
  struct pg_private *server = ctx;
  struct err err;
  if (server->first_tried) { /* this is the new one, and it works */
    password_is_set(server);
    return;
  }
  char *verifier = PQencryptPasswordConn(link->pg, server->place.secret, "winnow", "scram-sha-256");
  struct pg_batch batch = PG_BATCH_INIT;
  pg_put_text(pg_batch_add(&batch, STMT_ROLE_VERIFIER), str_of(verifier));
  pg_batch_add(&batch, STMT_ROLE_SET_PASSWORD);
  PQfreemem(verifier);
  struct pg_op *op = pg_op_new_batch(&batch, NULL, NULL, &err);
  if (op)
    op->deadline_ms = INT64_MAX;
  if (!op || !pg_link_send(link, op)) {
    pg_op_free(op);
    pg_link_fail(link, ERR_UNAVAILABLE, "the password could not be replaced");
    return;
  }
  pg_link_flush(link);
}

static void on_link_op(void *ctx, struct pg_link *link, struct pg_op *op) {
  struct pg_private *server = ctx;
  bool ok = op->outcome == PG_DONE;
  struct err err = op->failure.err;
  pg_op_free(op);
  if (ok)
    loop_timer_start(server->timer, 0); /* not under libpq's own feet */
  else
    pg_link_fail(link, err.code, err.text);
  server->first_tried = true;
}

/* Refused by the template's password: the change was made before a crash, so the new one is tried next. */
static void on_link_down(void *ctx, struct pg_link *link, const struct err *reason) {
  struct pg_private *server = ctx;
  for (struct list_node *node; (node = list_pop_front(&link->flight));)
    pg_op_free(LIST_ENTRY(node, struct pg_op, node));
  log_debug("storage", NULL, "the new database's password: %s", reason->text);
  server->first_tried = !server->first_tried;
  loop_timer_start(server->timer, 100);
}

static const struct link_events link_events = {.on_up = on_link_up, .on_down = on_link_down, .on_op = on_link_op};

static void connect_for_password(struct pg_private *server) {
  AUTO_BUF struct buf conninfo = BUF_INIT(KIB);
  struct err err;
  close_link(server);
  if (!write_conninfo(server, server->first_tried ? server->place.secret : server->place.first_secret, &conninfo) ||
      !pg_target_init(&server->target, conninfo.p, PASSWORD_MS, &err)) {
    kill(server->pid, SIGQUIT);
    return;
  }
  server->link_ready = pg_link_init(&server->link, server->loop, NULL, &link_events, server, &err);
  if (!server->link_ready || !pg_link_connect(&server->link, &server->target, PASSWORD_MS, &err))
    loop_timer_start(server->timer, 100);
}

/* The timer says: connect, or the answer was good. */
static void go_on_with_password(struct pg_private *server) {
  if (server->link_ready && server->link.state == LINK_UP)
    password_is_set(server);
  else
    connect_for_password(server);
}

/* ---- up, down, stopping ---- */

static void enter_up(struct pg_private *server) {
  AUTO_BUF struct buf conninfo = BUF_INIT(KIB);
  server->up_since_ms = loop_now_ms(server->loop);
  server->ever_up = true;
  mem_free(server->conninfo);
  server->conninfo = write_conninfo(server, server->place.secret, &conninfo) ? buf_take(&conninfo) : NULL;
}

static void enter_down(struct pg_private *server) {
  log_warn("storage", NULL, "%s", server->reason.text);
  int64_t delay = MIN_OF((int64_t)BACKOFF_MIN_MS << MIN_OF(server->deaths - 1, 8u), (int64_t)BACKOFF_MAX_MS);
  loop_timer_start(server->timer, delay / 2 + (int64_t)rng_below(&server->conf.rng, (uint64_t)delay / 2 + 1));
}

static void enter_stopping(struct pg_private *server) {
  server->stop_step = 0;
  kill(server->pid, SIGINT);
  pg_processes_signal(server->place.data, SIGCONT);
  loop_timer_start(server->timer, server->conf.stop_ms > 0 ? server->conf.stop_ms : STOP_MS);
}

static void stop_harder(struct pg_private *server) {
  kill(server->pid, server->stop_step++ == 0 ? SIGQUIT : SIGKILL);
  log_warn("storage", NULL, "the database does not stop; it is being forced");
  loop_timer_start(server->timer, FORCE_MS);
}

static void enter_stopped(struct pg_private *server) {
  pg_place_tidy(&server->place);
}

/* ---- the machine ---- */

static const struct {
  void (*enter)(struct pg_private *server);
  void (*on_timer)(struct pg_private *server);
} states[] = {
    [PG_PRIVATE_IDLE] = {NULL, NULL},
    [PG_PRIVATE_PREPARING] = {enter_preparing, NULL},
    [PG_PRIVATE_WAITING] = {enter_waiting, poll_old},
    [PG_PRIVATE_STARTING] = {enter_starting, poll_start},
    [PG_PRIVATE_PASSWORD] = {connect_for_password, go_on_with_password},
    [PG_PRIVATE_UP] = {enter_up, NULL},
    [PG_PRIVATE_DOWN] = {enter_down, enter_starting},
    [PG_PRIVATE_STOPPING] = {enter_stopping, stop_harder},
    [PG_PRIVATE_STOPPED] = {enter_stopped, NULL},
    [PG_PRIVATE_FAILED] = {enter_stopped, NULL},
};

static void enter(struct pg_private *server, enum pg_private_state state) {
  static const struct err none;
  log_debug("storage", NULL, "private database: %s -> %s", pg_private_state_name(server->state), pg_private_state_name(state));
  loop_timer_stop(server->timer);
  server->state = state;
  if (states[state].enter)
    states[state].enter(server);
  if (server->state != state)
    return; /* it went on at once, and has told that */
  bool bad = state == PG_PRIVATE_DOWN || state == PG_PRIVATE_FAILED;
  server->on_change(server->ctx, state, state == PG_PRIVATE_UP ? server->conninfo : NULL, bad ? &server->reason : &none);
}

static void on_timer(void *ctx) {
  struct pg_private *server = ctx;
  if (server->state == PG_PRIVATE_DOWN)
    enter(server, PG_PRIVATE_STARTING);
  else if (server->state == PG_PRIVATE_IDLE)
    enter(server, PG_PRIVATE_PREPARING);
  else if (states[server->state].on_timer)
    states[server->state].on_timer(server);
}

/* ---- life ---- */

static bool copy_text(struct pg_private *server, const char **text, struct err *err) {
  if (!*text)
    return true;
  *text = arena_strdup(&server->arena, str_of(*text));
  return *text || err_no_memory(err);
}

struct pg_private *pg_private_new(struct loop *loop, struct work_pool *work, const struct pg_private_conf *conf, pg_private_fn *on_change,
                                  void *ctx, struct err *err) {
  struct pg_private *server = mem_zalloc(sizeof *server);
  if (!server) {
    err_no_memory(err);
    return NULL;
  }
  server->loop = loop;
  server->work_pool = work;
  server->arena = ARENA_INIT(64 * KIB);
  server->conf = *conf;
  server->conf.place.stop = &server->stop;
  server->on_change = on_change;
  server->ctx = ctx;
  server->pid_fd = -1;
  server->timer = loop_timer_new(loop, on_timer, server);
  struct pg_place_conf *place = &server->conf.place;
  if ((server->timer || err_no_memory(err)) && copy_text(server, &place->dir, err) && copy_text(server, &place->bin_dir, err) &&
      copy_text(server, &place->user, err) && copy_text(server, &place->cache_dir, err) && copy_text(server, &place->run_dir, err) &&
      copy_text(server, &place->settings, err))
    return server;
  pg_private_free(server);
  return NULL;
}

void pg_private_start(struct pg_private *server) {
  if (server->state == PG_PRIVATE_IDLE)
    loop_timer_start(server->timer, 0);
}

enum pg_private_state pg_private_state(const struct pg_private *server) {
  return server->state;
}

pid_t pg_private_pid(const struct pg_private *server) {
  return server->pid;
}

const struct pg_place *pg_private_place(const struct pg_private *server) {
  return &server->place;
}

static void stop_now(void *ctx) {
  struct pg_private *server = ctx;
  if (server->state == PG_PRIVATE_STOPPING || server->state == PG_PRIVATE_STOPPED || server->work_out)
    return; /* prepared() looks at stop_asked */
  close_link(server);
  enter(server, server->pid ? PG_PRIVATE_STOPPING : PG_PRIVATE_STOPPED);
}

void pg_private_stop(struct pg_private *server) {
  server->stop_asked = server->stop.asked = true;
  loop_defer(server->loop, &server->stopping, stop_now, server);
}

void pg_private_free(struct pg_private *server) {
  if (!server)
    return;
  loop_defer_cancel(&server->stopping);
  server->freed = server->stop.asked = true;
  if (server->work_out) {
    loop_timer_stop(server->timer);
    return; /* a thread is at its files: prepared() comes back here */
  }
  close_link(server);
  if (server->pid) {
    int status;
    kill(server->pid, SIGQUIT);
    kill(server->pid, SIGCONT);
    for (int i = 0; i < FORCE_MS / 10 && !reap(server, &status, false); i++)
      usleep(10000);
    if (server->pid) {
      kill(server->pid, SIGKILL);
      reap(server, &status, true);
    }
  }
  pg_place_tidy(&server->place);
  loop_timer_free(server->timer);
  if (server->conninfo)
    mem_wipe(server->conninfo, strlen(server->conninfo));
  mem_free(server->conninfo);
  mem_wipe(server->place.secret, sizeof server->place.secret);
  arena_release(&server->arena);
  mem_free(server);
}
