/* What the handlers of models and of their files share. */
#ifndef WINNOW_WEB_API_MODELS_H
#define WINNOW_WEB_API_MODELS_H

#include "base/err.h"
#include "base/str.h"
#include "tracker/model_row.h"

struct http_req;

/* A copy that lives as long as the request. */
MUST_CHECK bool api_keep(struct http_req *req, struct str text, struct str *ret, struct err *err);
/* {version} of the route; ERR_NOT_FOUND when it cannot be one. */
MUST_CHECK bool api_read_version(const struct http_req *req, int64_t *ret, struct err *err);
/* The errors that there is none; false. */
bool api_no_model(struct str name, struct err *err);
bool api_no_version(struct str model, int64_t version, struct err *err);
/* The path of its source below the run's artifacts; p NULL when it is none of ours. */
struct str api_version_path(const struct version_row *row);

#endif
