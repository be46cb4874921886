/* Registering a version, whatever the protocol: where it comes from is resolved, its files are kept, its number is taken. */
#ifndef WINNOW_WEB_REGISTRY_H
#define WINNOW_WEB_REGISTRY_H

#include "tracker/artifacts/artifact_store.h"
#include "tracker/model_row.h"
#include "web/app.h"

/* Texts live as long as the request; p NULL is empty. */
struct version_request {
  struct str name, source, run_id, model_id, description, run_link;
  struct str tags; /* packed */
  bool is_prompt;  /* its source is no place */
  bool must_hold;  /* ERR_NOT_FOUND where the source is a place in our store below a run, and no file lies there; MLflow's protocol has no
                      such rule */
};

/* `reply` is that of version_get; or err says why not (ERR_NOT_FOUND, ERR_INVALID...). */
typedef void version_made_fn(struct http_req *req, const struct pg_reply *reply, const struct err *err);
MUST_CHECK bool version_register(struct http_req *req, const struct version_request *request, version_made_fn *done, struct err *err);

/* Of a model that was deleted: what its versions kept goes. False: `done` will not come; gc finds what is left behind. */
MUST_CHECK bool model_files_remove(struct http_req *req, int64_t model, artifact_done_fn *done, void *ctx);

#endif
