/* A server that does what a script says, in place of libpq: connections, pipelines with transactions between syncs, and all the ways to
 * fail. One script at a time. Needs storage/pg/pq.h before it. */
#ifndef WINNOW_TESTS_PQ_SCRIPT_H
#define WINNOW_TESTS_PQ_SCRIPT_H

#include "storage/pg/pq_api.h"

extern const struct pq_api pq_scripted;

enum script_act {
  SCRIPT_FAIL,       /* answers with the SQLSTATE */
  SCRIPT_SILENT,     /* takes it and never answers again on that connection */
  SCRIPT_DIE_BEFORE, /* the connection dies when it comes to this, which is not done */
  SCRIPT_DIE_AFTER,  /* it is done, committed, and the connection dies before the answer */
  SCRIPT_UNSENDABLE, /* the client's send fails and the connection is gone */
};

/* The next `times` executions of the statement (by name) do this instead of succeeding. */
void script_rule(const char *statement, enum script_act act, const char *sqlstate, int times);
/* The next connects are refused. */
void script_refuse(int times);
void script_reset(void);

/* Committed executions of a statement. */
int script_done(const char *statement);
int script_prepared(void);
int script_connections(void); /* open now */

#endif
