/* The calls of libpq that touch a connection, as a table, so that a scripted server can be put in (tests/support/pq_script.h).
 * Results are real PGresults in both cases. Needs storage/pg/pq.h before it. */
#ifndef WINNOW_STORAGE_PQ_API_H
#define WINNOW_STORAGE_PQ_API_H

#include "base/base.h"

struct pq_api {
  PGconn *(*connect_start)(const char *const *keywords, const char *const *values, int expand_dbname);
  PostgresPollingStatusType (*connect_poll)(PGconn *pg);
  ConnStatusType (*status)(const PGconn *pg);
  int (*socket)(const PGconn *pg);
  void (*finish)(PGconn *pg);
  char *(*error_message)(const PGconn *pg);
  int (*set_nonblocking)(PGconn *pg, int on);
  int (*enter_pipeline)(PGconn *pg);
  int (*exit_pipeline)(PGconn *pg);
  int (*send_prepare)(PGconn *pg, const char *name, const char *sql, int count, const Oid *types);
  int (*send_prepared)(PGconn *pg, const char *name, int count, const char *const *values, const int *lengths, const int *formats,
                       int result_format);
  int (*send_params)(PGconn *pg, const char *sql, int count, const Oid *types, const char *const *values, const int *lengths,
                     const int *formats, int result_format);
  int (*sync)(PGconn *pg);
  int (*flush)(PGconn *pg);
  int (*consume)(PGconn *pg);
  int (*is_busy)(PGconn *pg);
  PGresult *(*get_result)(PGconn *pg);
  char *(*error_field)(const PGresult *result, int field);
  int (*single_row)(PGconn *pg);
  PQnoticeProcessor (*set_notice)(PGconn *pg, PQnoticeProcessor fn, void *ctx);
};

extern const struct pq_api pq_libpq;

#endif
