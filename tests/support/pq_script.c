#define WINNOW_ALLOW_MALLOC /* the server is not the one whose memory fails */
#include "storage/pg/pq.h"

#include "tests/support/pq_script.h"

#include <fcntl.h>
#include <sys/socket.h>

#include "storage/pg/stmt_info.h"

enum { COMMANDS_MAX = 20000, RULES_MAX = 16, NAMES_MAX = 64, NAME_BYTES = 40 };

enum command_kind { DO_PREPARE, DO_EXECUTE, DO_SYNC };

struct command {
  enum command_kind kind;
  char name[NAME_BYTES];
};

struct answer {
  PGresult *result; /* NULL: the end of a command's results */
};

struct fake {
  int ours, theirs; /* a socket pair: a byte in ours says that an answer is there */
  bool up, dead, silent, in_pipeline;
  struct command sent[COMMANDS_MAX];
  size_t sent_count, handled;
  struct answer answers[COMMANDS_MAX];
  size_t answer_count, answer_at;
  bool prepared[NAMES_MAX];
};

static struct {
  struct {
    char name[NAME_BYTES];
    enum script_act act;
    char sqlstate[6];
    int times;
  } rules[RULES_MAX];
  size_t rule_count;
  char names[NAMES_MAX][NAME_BYTES];
  int done[NAMES_MAX];
  size_t name_count;
  int refuse, prepared, connections;
  struct {
    const PGresult *result;
    char sqlstate[6];
  } failures[COMMANDS_MAX];
  size_t failure_count;
} script;

static size_t name_index(const char *name) {
  for (size_t i = 0; i < script.name_count; i++)
    if (strcmp(script.names[i], name) == 0)
      return i;
  if (script.name_count == NAMES_MAX)
    abort();
  snprintf(script.names[script.name_count], NAME_BYTES, "%s", name);
  return script.name_count++;
}

void script_rule(const char *statement, enum script_act act, const char *sqlstate, int times) {
  if (script.rule_count == RULES_MAX)
    abort();
  snprintf(script.rules[script.rule_count].name, NAME_BYTES, "%s", statement);
  snprintf(script.rules[script.rule_count].sqlstate, 6, "%s", sqlstate ? sqlstate : "");
  script.rules[script.rule_count].act = act;
  script.rules[script.rule_count++].times = times;
}

void script_refuse(int times) {
  script.refuse = times;
}

void script_reset(void) {
  memset(&script, 0, sizeof script);
}

int script_done(const char *statement) {
  return script.done[name_index(statement)];
}

int script_prepared(void) {
  return script.prepared;
}

int script_connections(void) {
  return script.connections;
}

/* The rule's number, used up once, or -1. */
static int rule_for(const char *name, bool sending) {
  for (size_t i = 0; i < script.rule_count; i++)
    if (script.rules[i].times > 0 && strcmp(script.rules[i].name, name) == 0 && (script.rules[i].act == SCRIPT_UNSENDABLE) == sending) {
      script.rules[i].times--;
      return (int)i;
    }
  return -1;
}

static const struct stmt_info *shape_of(const char *name) {
  for (int i = 0;; i++) {
    const struct stmt_info *info = stmt_info((enum stmt)i);
    if (!info || strcmp(info->name, name) == 0)
      return info;
  }
}

static struct fake *fake_of(const PGconn *pg) {
  union {
    const PGconn *in;
    struct fake *out;
  } cast = {.in = pg};
  return cast.out;
}

static PGconn *pg_of(struct fake *fake) {
  return (PGconn *)(void *)fake;
}

/* ---- the server's side ---- */

static void put_answer(struct fake *fake, PGresult *result) {
  if (fake->answer_count == COMMANDS_MAX)
    abort();
  fake->answers[fake->answer_count++].result = result;
}

static void answer_error(struct fake *fake, const char *sqlstate) {
  PGresult *result = PQmakeEmptyPGresult(NULL, PGRES_FATAL_ERROR);
  script.failures[script.failure_count % COMMANDS_MAX].result = result;
  snprintf(script.failures[script.failure_count++ % COMMANDS_MAX].sqlstate, 6, "%s", sqlstate);
  put_answer(fake, result);
  put_answer(fake, NULL);
}

/* One row of nulls in the declared shape. */
static void answer_rows(struct fake *fake, const struct stmt_info *info) {
  PGresult *result = PQmakeEmptyPGresult(NULL, info->result_count ? PGRES_TUPLES_OK : PGRES_COMMAND_OK);
  PGresAttDesc columns[STMT_PARAMS_MAX];
  char name[] = "c";
  for (int i = 0; i < info->result_count; i++)
    columns[i] = (PGresAttDesc){.name = name, .format = 1, .typid = pg_type_oid(info->results[i]), .typlen = -1};
  if (info->result_count) {
    PQsetResultAttrs(result, info->result_count, columns);
    for (int i = 0; i < info->result_count; i++)
      PQsetvalue(result, 0, i, NULL, -1);
  }
  put_answer(fake, result);
  put_answer(fake, NULL);
}

static void die(struct fake *fake) {
  fake->dead = true;
}

/* One segment, `from` up to the sync at `to`: all of it or nothing. */
static void serve_segment(struct fake *fake, size_t from, size_t to) {
  bool aborted = false, die_after = false;
  for (size_t i = from; i < to; i++) {
    const struct command *command = &fake->sent[i];
    size_t name = name_index(command->name);
    if (aborted) {
      put_answer(fake, PQmakeEmptyPGresult(NULL, PGRES_PIPELINE_ABORTED));
      put_answer(fake, NULL);
      continue;
    }
    if (command->kind == DO_PREPARE) {
      script.prepared++;
      fake->prepared[name] = true;
      put_answer(fake, PQmakeEmptyPGresult(NULL, PGRES_COMMAND_OK));
      put_answer(fake, NULL);
      continue;
    }
    int rule = rule_for(command->name, false);
    enum script_act act = rule < 0 ? SCRIPT_UNSENDABLE : script.rules[rule].act;
    if (rule >= 0 && act == SCRIPT_SILENT) {
      fake->silent = true;
      return;
    }
    if (rule >= 0 && act == SCRIPT_DIE_BEFORE) {
      die(fake);
      return;
    }
    die_after = die_after || (rule >= 0 && act == SCRIPT_DIE_AFTER);
    if (!fake->prepared[name] || (rule >= 0 && act == SCRIPT_FAIL)) {
      answer_error(fake, fake->prepared[name] ? script.rules[rule].sqlstate : "26000");
      if (rule >= 0 && strcmp(script.rules[rule].sqlstate, "26000") == 0)
        fake->prepared[name] = false;
      aborted = true;
    } else
      answer_rows(fake, shape_of(command->name));
  }
  for (size_t i = from; i < to && !aborted; i++)
    if (fake->sent[i].kind == DO_EXECUTE)
      script.done[name_index(fake->sent[i].name)]++;
  if (die_after) {
    /* Nothing of this segment's answers gets through. */
    while (fake->answer_count > fake->answer_at && fake->answers[fake->answer_count - 1].result)
      PQclear(fake->answers[--fake->answer_count].result);
    die(fake);
    return;
  }
  put_answer(fake, PQmakeEmptyPGresult(NULL, PGRES_PIPELINE_SYNC));
}

static void serve(struct fake *fake) {
  for (size_t i = fake->handled; i < fake->sent_count && !fake->dead && !fake->silent; i++)
    if (fake->sent[i].kind == DO_SYNC) {
      serve_segment(fake, fake->handled, i);
      fake->handled = i + 1;
    }
  if ((fake->answer_at < fake->answer_count || fake->dead) && write(fake->theirs, "!", 1) < 0)
    abort();
}

/* ---- libpq's side ---- */

static PGconn *fake_connect(const char *const *keywords UNUSED, const char *const *values UNUSED, int expand UNUSED) {
  struct fake *fake = calloc(1, sizeof *fake);
  int ends[2];
  if (!fake || socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends) != 0)
    abort();
  fake->ours = ends[0];
  fake->theirs = ends[1];
  script.connections++;
  if (script.refuse > 0) {
    script.refuse--;
    fake->dead = true;
  }
  return pg_of(fake);
}

static PostgresPollingStatusType fake_poll(PGconn *pg) {
  struct fake *fake = fake_of(pg);
  fake->up = !fake->dead;
  return fake->dead ? PGRES_POLLING_FAILED : PGRES_POLLING_OK;
}

static ConnStatusType fake_status(const PGconn *pg) {
  struct fake *fake = fake_of(pg);
  return fake->dead && fake->up ? CONNECTION_BAD : fake->up ? CONNECTION_OK : CONNECTION_STARTED;
}

static int fake_socket(const PGconn *pg) {
  return fake_of(pg)->ours;
}

static void fake_finish(PGconn *pg) {
  struct fake *fake = fake_of(pg);
  for (size_t i = fake->answer_at; i < fake->answer_count; i++)
    PQclear(fake->answers[i].result);
  close(fake->ours);
  close(fake->theirs);
  script.connections--;
  free(fake);
}

static char *fake_error(const PGconn *pg UNUSED) {
  static char text[] = "the scripted server has gone\n";
  return text;
}

static int fake_zero(PGconn *pg UNUSED, int on UNUSED) {
  return 0;
}

static int fake_enter(PGconn *pg) {
  fake_of(pg)->in_pipeline = true;
  return 1;
}

static int fake_exit(PGconn *pg UNUSED) {
  return 0;
}

static int put(struct fake *fake, enum command_kind kind, const char *name) {
  if (fake->dead || fake->sent_count == COMMANDS_MAX)
    return 0;
  fake->sent[fake->sent_count].kind = kind;
  snprintf(fake->sent[fake->sent_count++].name, NAME_BYTES, "%s", name);
  return 1;
}

static int fake_prepare(PGconn *pg, const char *name, const char *sql UNUSED, int count UNUSED, const Oid *types UNUSED) {
  return put(fake_of(pg), DO_PREPARE, name);
}

static int fake_execute(PGconn *pg, const char *name, int count UNUSED, const char *const *values UNUSED, const int *lengths UNUSED,
                        const int *formats UNUSED, int format UNUSED) {
  struct fake *fake = fake_of(pg);
  if (rule_for(name, true) >= 0) {
    fake->dead = true;
    return 0;
  }
  return put(fake, DO_EXECUTE, name);
}

static int fake_params(PGconn *pg UNUSED, const char *sql UNUSED, int count UNUSED, const Oid *types UNUSED,
                       const char *const *values UNUSED, const int *lengths UNUSED, const int *formats UNUSED, int format UNUSED) {
  return 0;
}

static int fake_sync(PGconn *pg) {
  return put(fake_of(pg), DO_SYNC, "");
}

static int fake_flush(PGconn *pg) {
  serve(fake_of(pg));
  return 0;
}

static int fake_consume(PGconn *pg) {
  char bytes[256];
  while (read(fake_of(pg)->ours, bytes, sizeof bytes) > 0)
    ;
  return !fake_of(pg)->dead;
}

static int fake_busy(PGconn *pg) {
  struct fake *fake = fake_of(pg);
  return fake->answer_at == fake->answer_count;
}

static PGresult *fake_result(PGconn *pg) {
  struct fake *fake = fake_of(pg);
  if (fake->answer_at == fake->answer_count)
    return NULL;
  PGresult *result = fake->answers[fake->answer_at++].result;
  if (fake->answer_at == fake->answer_count)
    fake->answer_at = fake->answer_count = 0;
  return result;
}

static char *fake_field(const PGresult *result, int field) {
  static char message[] = "refused by the script";
  if (field == PG_DIAG_MESSAGE_PRIMARY)
    return message;
  for (size_t i = 0; field == PG_DIAG_SQLSTATE && i < MIN_OF(script.failure_count, (size_t)COMMANDS_MAX); i++)
    if (script.failures[i].result == result)
      return script.failures[i].sqlstate;
  return NULL;
}

static int fake_single(PGconn *pg UNUSED) {
  return 0;
}

static PQnoticeProcessor fake_notice(PGconn *pg UNUSED, PQnoticeProcessor fn UNUSED, void *ctx UNUSED) {
  return NULL;
}

const struct pq_api pq_scripted = {
    .connect_start = fake_connect,
    .connect_poll = fake_poll,
    .status = fake_status,
    .socket = fake_socket,
    .finish = fake_finish,
    .error_message = fake_error,
    .set_nonblocking = fake_zero,
    .enter_pipeline = fake_enter,
    .exit_pipeline = fake_exit,
    .send_prepare = fake_prepare,
    .send_prepared = fake_execute,
    .send_params = fake_params,
    .sync = fake_sync,
    .flush = fake_flush,
    .consume = fake_consume,
    .is_busy = fake_busy,
    .get_result = fake_result,
    .error_field = fake_field,
    .single_row = fake_single,
    .set_notice = fake_notice,
};
