/* Backups: everything of a service in a file or a directory, and a service made of one. */
#include <fcntl.h>

#include "base/file.h"
#include "cli/backup_file.h"
#include "cli/restore.h"
#include "cli/verbs.h"

enum { SILENCE_MS = 10 * 60 * 1000 };

/* ---- backup ---- */

struct backup_call {
  struct cli *cli;
  struct backup_reader *reader;
  int fd; /* -1: unpacked by the reader */
  bool to_stdout;
  int64_t begun_us;
};

static bool on_bytes(void *ctx, struct str bytes, struct err *err) {
  struct backup_call *call = ctx;
  if (!backup_feed(call->reader, bytes, err))
    return false;
  if (call->to_stdout)
    return output_bytes(&call->cli->output, bytes, err);
  return call->fd < 0 || fd_write_all(call->fd, bytes.p, bytes.n, err);
}

static bool on_tick(void *ctx, int64_t moved, int64_t total UNUSED, struct err *err UNUSED) {
  struct backup_call *call = ctx;
  AUTO_BUF struct buf line = BUF_INIT(KIB);
  double seconds = (double)(clock_mono_us(call->cli->clock) - call->begun_us) / 1e6;
  buf_puts(&line, "backup  ");
  encode_size(&line, (double)moved);
  buf_puts(&line, "  ");
  encode_size(&line, seconds > 0 ? (double)moved / seconds : 0);
  buf_puts(&line, "/s");
  cli_progress(call->cli, buf_text(&line));
  return true;
}

/* What passes is checked as a restore would. */
static bool fetch(struct backup_call *call, const char *directory, struct backup_summary *ret, struct err *err) {
  AUTO_REPLY struct client_reply reply;
  client_reply_init(&reply);
  struct client *client = cli_client(call->cli, err);
  call->reader = client ? backup_reader_new(directory, err) : NULL;
  struct client_request request = {.method = "GET",
                                   .path = "/api/v1/admin/backup",
                                   .body_fd = -1,
                                   .accept = "application/x-tar",
                                   .sink = on_bytes,
                                   .tick = on_tick,
                                   .ctx = call,
                                   .stream = true,
                                   .silence_ms = SILENCE_MS};
  call->begun_us = clock_mono_us(call->cli->clock);
  bool ok = call->reader && client_call(client, &request, &reply, err) && backup_finish(call->reader, ret, err);
  cli_progress_end(call->cli);
  backup_reader_free(call->reader);
  return ok;
}

static bool beside(struct cli *cli, const char *target, struct buf *out, struct err *err) {
  buf_printf(out, "%s.%016llx", target, (unsigned long long)rng_u64(&cli->rng));
  return buf_ok(out, err);
}

static bool backup_to_file(struct backup_call *call, const char *target, struct backup_summary *ret, struct err *err) {
  AUTO_BUF struct buf fresh = BUF_INIT(8 * KIB);
  if (!beside(call->cli, target, &fresh, err))
    return false;
  AUTO_FD int fd = open(buf_text(&fresh), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
  if (fd < 0)
    return err_errno(err, errno, "cannot write beside %s", target);
  call->fd = fd;
  bool ok = fetch(call, NULL, ret, err) && fd_sync(fd, err);
  if (ok && rename(buf_text(&fresh), target) != 0)
    ok = err_errno(err, errno, "cannot name %s", target);
  if (!ok)
    unlink(buf_text(&fresh));
  return ok;
}

static bool backup_to_directory(struct backup_call *call, const char *target, struct backup_summary *ret, struct err *err) {
  AUTO_BUF struct buf fresh = BUF_INIT(8 * KIB);
  struct err ignored;
  if (rmdir(target) != 0 && errno != ENOENT)
    return err_set(err, ERR_EXISTS, "%s is there already", target) || err_hint(err, "name a new directory, or a file that ends in .tar");
  if (!beside(call->cli, target, &fresh, err) || !dir_make(buf_text(&fresh), 0700, err))
    return false;
  bool ok = fetch(call, buf_text(&fresh), ret, err);
  if (ok && rename(buf_text(&fresh), target) != 0)
    ok = err_errno(err, errno, "cannot name %s", target);
  if (!ok)
    (void)!tree_remove(buf_text(&fresh), &ignored);
  return ok;
}

static int say_backup(struct cli *cli, const struct backup_summary *summary, const char *what, const char *where) {
  AUTO_BUF struct buf size = BUF_INIT(64), dump = BUF_INIT(64);
  encode_size(&size, (double)summary->artifact_bytes);
  encode_size(&dump, (double)summary->database_bytes);
  output_say(&cli->output, "%s %s: the database (%s), %lld artifacts (%s)", what, where, buf_text(&dump), (long long)summary->artifacts,
             buf_text(&size));
  if (!summary->damaged)
    return EXIT_OK;
  output_say(&cli->output, "%lld artifacts were damaged or missing at the service already; winnow admin fsck --deep names them",
             (long long)summary->damaged);
  return EXIT_PARTIAL;
}

static int backup_run(struct cli *cli) {
  struct err err;
  struct backup_summary summary;
  const char *target = args_word(&cli->args, 0);
  struct backup_call call = {.cli = cli, .fd = -1, .to_stdout = strcmp(target, "-") == 0};
  bool ok = call.to_stdout                          ? fetch(&call, NULL, &summary, &err)
            : str_ends(str_of(target), STR(".tar")) ? backup_to_file(&call, target, &summary, &err)
                                                    : backup_to_directory(&call, target, &summary, &err);
  return ok ? say_backup(cli, &summary, "backed up to", target) : cli_fail(cli, &err);
}

/* ---- restore ---- */

#ifdef WINNOW_WITH_SERVE
static int restore_run(struct cli *cli) {
  struct err err;
  struct restore_report report;
  struct restore_conf conf = {.source = args_word(&cli->args, 0),
                              .data_dir = args_text(&cli->args, "data"),
                              .db = args_text(&cli->args, "db"),
                              .pg_user = args_text(&cli->args, "pg-user")};
  if (!conf.data_dir)
    return cli_usage(cli, "winnow admin restore BACKUP --data DIR", "--data names the directory that the service is to have");
  if (!restore(&conf, &report, &err))
    return cli_fail(cli, &err);
  if (report.followed)
    output_say(&cli->output, "%lld artifacts changed while the backup was made; they are as they were at its end",
               (long long)report.followed);
  if (report.paused)
    output_say(&cli->output, "%lld sweeps that ran are paused: winnow sweep resume", (long long)report.paused);
  int code = say_backup(cli, &report.summary, "restored to", conf.data_dir);
  output_say(&cli->output, "next: winnow serve --data %s%s", conf.data_dir, conf.db ? " --db ..." : "");
  return code;
}

static const struct flag_row restore_flags[] = {
    {.name = "data", .type = FLAG_TEXT, .value_name = "DIR", .help = "a directory that is not there, or empty"},
    {.name = "db",
     .type = FLAG_TEXT,
     .value_name = "URL",
     .help = "a Postgres without a winnow in it, instead of a private one in the directory"},
    {.name = "pg-user", .type = FLAG_TEXT, .value_name = "USER", .help = "as of winnow serve"},
};
#endif

static const struct verb rows[] = {
    {
        .noun = "admin",
        .name = "backup",
        .summary = "everything in a file or a directory",
        .help =
            "The database as one snapshot and all artifacts, while the service goes on; checked on its way. A name that ends in .tar is a file, - is "
            "standard output, anything else a new directory. It appears whole or not at all. The exit status is 8 when artifacts were damaged "
            "at the service. Whoever reads it reads everything but tokens, of which it has hashes only.",
        .examples = {{"winnow admin backup /backup/winnow-$(date +%F).tar", "a file"},
                     {"winnow admin backup - | zstd > winnow.tar.zst", "through a program"}},
        .words = {{"TARGET", WORD_FILE}},
        .run = backup_run,
    },
#ifdef WINNOW_WITH_SERVE
    {
        .noun = "admin",
        .name = "restore",
        .summary = "a new service from a backup",
        .help =
            "Makes a data directory (and fills the database of --db), without a running service; everything is checked first. Backups of older "
            "versions are brought forward. Sweeps that ran are paused. Tokens stay valid, jobs that ran are lost.",
        .examples = {{"winnow admin restore winnow.tar --data /srv/winnow2", "beside the old one"},
                     {"zstd -dc winnow.tar.zst | winnow admin restore - --data /srv/winnow2", "from a program"}},
        FLAGS(restore_flags),
        .words = {{"BACKUP", WORD_FILE}},
        .run = restore_run,
    },
#endif
};

const struct verb_set backup_verbs = {rows, ARRAY_LEN(rows)};
