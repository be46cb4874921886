/* What a job's token reaches where a credential is needed (semantics: it guards against mistakes, not against hostile jobs). It writes its
 * own run and the runs below it (their tag mlflow.parentRunId leads to it), their logged models, versions made from them; it reads the
 * experiment of its run. Which of these a request names is told by its row (enum route_reach); whether they are within reach is one
 * statement, and none for the job's own run. Files are judged where they are used: files_guard().
 *
 * Nobody else pays for it: whoever has another credential, or needs none, goes straight to the handler. */
#ifndef WINNOW_WEB_REACH_H
#define WINNOW_WEB_REACH_H

#include "base/id.h"
#include "web/http/http_req.h"

/* An http_handle_fn: idempotency_handle() for what is within reach, else a refusal; also of a job's token that is good no more
 * (web/job_token.h). */
void reach_handle(void *ctx, struct http_req *req);

/* The ids of runs and logged models ("m-…") among the parts of a path or URI, at most `max`. False when there are more. */
MUST_CHECK bool reach_ids_of_path(struct str path, struct id *ids, size_t max, size_t *ret_count);

#endif
