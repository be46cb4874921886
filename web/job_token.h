/* How long a job's token is good: until a day after its attempt has ended. The token says which attempt it is of, not when that ends, so
 * whoever shows one is asked for here, between the gate and the handler; of an attempt that runs nothing has to be asked.
 *
 * What is public is for nobody in particular, and what a companion says of its attempt is judged by who hears it: an attempt that is over
 * has to be told so, or its companion asks for ever. */
#ifndef WINNOW_WEB_JOB_TOKEN_H
#define WINNOW_WEB_JOB_TOKEN_H

#include "web/http/http_req.h"

typedef void job_token_fn(void *ctx, const struct err *err);
/* Calls `then`, at once or later: without an error when the request shows no job's token, or one that is good. */
void job_token_check(struct http_req *req, job_token_fn *then, void *ctx);

#endif
