/* What the handlers of runs need to know of trials. */
#ifndef WINNOW_WEB_API_SWEEPS_H
#define WINNOW_WEB_API_SWEEPS_H

#include "base/base.h"

struct http_req;

/* Stops or retries the run of the path if it is a trial that lives, and answers the request; false: it is none, and nothing was done. */
bool api_trial_steer(struct http_req *req, bool retry);

#endif
