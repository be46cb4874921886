/* The tables of MLflow's protocol, and how their rows look. */
#ifndef WINNOW_WEB_MLFLOW_TABLES_H
#define WINNOW_WEB_MLFLOW_TABLES_H

#include "web/route.h"

/* Relative to /api/2.0/mlflow. */
extern const struct route mlflow_experiment_routes[], mlflow_run_routes[], mlflow_log_routes[], mlflow_metric_routes[],
    mlflow_model_routes[], mlflow_registry_routes[], mlflow_version_routes[], mlflow_registry_search_routes[], mlflow_file_routes[];
extern const size_t mlflow_experiment_route_count, mlflow_run_route_count, mlflow_log_route_count, mlflow_metric_route_count,
    mlflow_model_route_count, mlflow_registry_route_count, mlflow_version_route_count, mlflow_registry_search_route_count,
    mlflow_file_route_count;
/* Relative to /api/2.0/mlflow-artifacts. */
extern const struct route mlflow_artifact_routes[], mlflow_part_routes[];
extern const size_t mlflow_artifact_route_count, mlflow_part_route_count;
/* Relative to /api/3.0/mlflow. */
extern const struct route mlflow_info_routes[];
extern const size_t mlflow_info_route_count;
/* Relative to the root: /version, downloads. */
extern const struct route mlflow_root_routes[], mlflow_version_file_routes[];
extern const size_t mlflow_root_route_count, mlflow_version_file_route_count;

#define MLFLOW_BODY_ROW(method_word, path_text, policy_word, reach_word, handler_fn, text) \
  MLFLOW_BODY_ROW_OF(MLFLOW_BODY_MAX, method_word, path_text, policy_word, reach_word, handler_fn, text)
#define MLFLOW_BODY_ROW_OF(max_bytes, method_word, path_text, policy_word, reach_word, handler_fn, text)                              \
  {                                                                                                                                   \
    .method = method_word, .path = path_text, .policy = policy_word, .reach = reach_word, .body = BODY_BUFFER, .max_body = max_bytes, \
    .handler = handler_fn, .summary = text                                                                                            \
  }
#define MLFLOW_WRITE(path_text, reach_word, handler_fn, text) \
  MLFLOW_BODY_ROW(HTTP_POST, path_text, POLICY_TRACK, reach_word, handler_fn, text)
/* Filters and ids are short: a longer body would only be read to be refused. */
#define MLFLOW_ASK(path_text, reach_word, handler_fn, text) \
  MLFLOW_BODY_ROW_OF(4 << 20, HTTP_POST, path_text, POLICY_READ, reach_word, handler_fn, text)
/* What changes an existing version or alias, or removes for good. */
#define MLFLOW_CURATE(method_word, path_text, reach_word, handler_fn, text) \
  MLFLOW_BODY_ROW(method_word, path_text, POLICY_CURATE, reach_word, handler_fn, text)
#define MLFLOW_PATCH(path_text, reach_word, handler_fn, text) \
  MLFLOW_BODY_ROW(HTTP_PATCH, path_text, POLICY_TRACK, reach_word, handler_fn, text)
#define MLFLOW_DELETE(path_text, reach_word, handler_fn, text) \
  MLFLOW_BODY_ROW(HTTP_DELETE, path_text, POLICY_TRACK, reach_word, handler_fn, text)
#define MLFLOW_GET(path_text, reach_word, handler_fn, text) \
  { .method = HTTP_GET, .path = path_text, .policy = POLICY_READ, .reach = reach_word, .handler = handler_fn, .summary = text }
#define MLFLOW_UPLOAD(path_text, policy_word, reach_word, stream_ref, text)                                                                \
  {                                                                                                                                        \
    .method = HTTP_PUT, .path = path_text, .policy = policy_word, .reach = reach_word, .body = BODY_STREAM, .max_body = (uint64_t)1 << 42, \
    .stream = stream_ref, .summary = text                                                                                                  \
  }

#endif
