/* What the server's refusals mean to us. */
#include "storage/pg/pq.h"

#include "storage/pg/pg_op.h"
#include "storage/pg/pq_api.h"

static const struct {
  const char *sqlstate; /* the whole code, or its class */
  enum err_code code;
  enum pg_outcome outcome;
  bool transient;   /* worth sending again at once */
  const char *text; /* in place of the server's message */
} table[] = {
    {"23505", ERR_EXISTS, PG_REJECTED, false, NULL},
    {"23503", ERR_CONFLICT, PG_REJECTED, false, NULL},
    {"23502", ERR_INVALID, PG_REJECTED, false, NULL},
    {"23514", ERR_INVALID, PG_REJECTED, false, NULL},
    {"23P01", ERR_CONFLICT, PG_REJECTED, false, NULL},
    {"40001", ERR_UNAVAILABLE, PG_RETRYABLE, true, "the database could not serialize concurrent writes"},
    {"40P01", ERR_UNAVAILABLE, PG_RETRYABLE, true, "concurrent writes waited for each other"},
    {"40003", ERR_UNKNOWN_OUTCOME, PG_UNKNOWN, false, NULL},
    {"55P03", ERR_UNAVAILABLE, PG_RETRYABLE, false, NULL},
    {"25006", ERR_UNAVAILABLE, PG_RETRYABLE, false, "the database takes no writes now"},
    {"25P02", ERR_WRONG_STATE, PG_RETRYABLE, false, "an earlier statement of the transaction failed"},
    {"26000", ERR_UNAVAILABLE, PG_RETRYABLE, true, NULL}, /* not prepared on this connection after all */
    {"57014", ERR_DEADLINE, PG_CANCELLED, false, "the statement took too long and was cancelled"},
    {"57P01", ERR_UNKNOWN_OUTCOME, PG_UNKNOWN, false, NULL},
    {"57P02", ERR_UNKNOWN_OUTCOME, PG_UNKNOWN, false, NULL},
    {"57P03", ERR_UNAVAILABLE, PG_RETRYABLE, false, NULL},
    {"53100", ERR_NO_SPACE, PG_REJECTED, false, "the database's disk is full"},
    {"53200", ERR_NO_MEMORY, PG_RETRYABLE, false, "the database is out of memory"},
    {"53300", ERR_UNAVAILABLE, PG_RETRYABLE, false, NULL},
    {"53", ERR_UNAVAILABLE, PG_RETRYABLE, false, NULL},
    {"54", ERR_TOO_LARGE, PG_REJECTED, false, "the database cannot hold something that large"},
    {"58030", ERR_IO, PG_REJECTED, false, NULL},
    {"22", ERR_INVALID, PG_REJECTED, false, NULL},
    {"28", ERR_FORBIDDEN, PG_REJECTED, false, NULL},
    {"42501", ERR_FORBIDDEN, PG_REJECTED, false, NULL},
    {"08", ERR_UNAVAILABLE, PG_RETRYABLE, false, NULL},
    {"", ERR_INTERNAL, PG_REJECTED, false, NULL},
};

static size_t find(const char *sqlstate) {
  for (size_t i = 0;; i++)
    if (strncmp(sqlstate, table[i].sqlstate, strlen(table[i].sqlstate)) == 0)
      return i;
}

/* `message` is the server's primary message. */
static enum pg_outcome failure_from_sqlstate(const char *sqlstate, const char *message, struct pg_failure *ret) {
  size_t i = find(sqlstate);
  snprintf(ret->sqlstate, sizeof ret->sqlstate, "%s", sqlstate);
  err_set(&ret->err, table[i].code, "%s", table[i].text ? table[i].text : message);
  if (table[i].code == ERR_NO_SPACE)
    err_hint(&ret->err, "free space on the disk of the database; writes go on by themselves then");
  return table[i].outcome;
}

enum pg_outcome pg_failure_from_result(const struct pq_api *pq, const PGresult *result, struct pg_failure *ret) {
  const char *sqlstate = pq->error_field(result, PG_DIAG_SQLSTATE);
  const char *message = pq->error_field(result, PG_DIAG_MESSAGE_PRIMARY);
  if (!sqlstate) { /* not the server's words but libpq's, about the connection or its memory: the answer is lost */
    ret->sqlstate[0] = 0;
    pg_unknown_err(&ret->err);
    return PG_UNKNOWN;
  }
  return failure_from_sqlstate(sqlstate, message ? message : "the database refused the statement", ret);
}

void pg_unknown_err(struct err *err) {
  err_set(err, ERR_UNKNOWN_OUTCOME, "the connection to the database was lost after the statement had been sent");
}

bool pg_sqlstate_is_transient(const char *sqlstate) {
  return table[find(sqlstate)].transient;
}
