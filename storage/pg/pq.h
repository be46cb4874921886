/* libpq without the calls that wait for the server; include it first. Blocking libpq is for the few that run before or beside the loop
 * (migrations): they say `#define WINNOW_ALLOW_BLOCKING_PQ` with the reason. Everyone else uses pg.h. */
#ifndef WINNOW_STORAGE_PQ_H
#define WINNOW_STORAGE_PQ_H

#ifdef WINNOW_BASE_BANNED_H
#error "storage/pg/pq.h comes before what includes base/base.h: libpq's header has macros that name banned functions"
#endif

#include <libpq-fe.h>

#include "base/base.h"

#ifndef WINNOW_ALLOW_BLOCKING_PQ
#pragma GCC poison PQexec PQexecParams PQexecPrepared PQprepare PQdescribePrepared PQconnectdb PQconnectdbParams PQsetdbLogin PQreset PQping
#pragma GCC poison PQgetCopyData PQgetline PQputline PQendcopy PQfn
#endif

#endif
