/* The tables of routes, one for each family of handlers, and where they are mounted. */
#ifndef WINNOW_WEB_TABLES_H
#define WINNOW_WEB_TABLES_H

#include "web/route.h"

/* Below /api/v1. A table `x_routes` has `x_route_count` rows. */
#define API_ROUTE_TABLES(X) \
  X(service)                \
  X(metric)                 \
  X(api_run)                \
  X(api_run_search)         \
  X(api_compare)            \
  X(api_past_event)         \
  X(api_experiment)         \
  X(api_artifact)           \
  X(api_model)              \
  X(api_model_file)         \
  X(sweep)                  \
  X(trial)                  \
  X(ask)                    \
  X(job)                    \
  X(queue)                  \
  X(code)                   \
  X(companion)              \
  X(log)                    \
  X(reparse)                \
  X(event)                  \
  X(admin)

#define ROUTE_TABLE_DECLARE(name)            \
  extern const struct route name##_routes[]; \
  extern const size_t name##_route_count;
API_ROUTE_TABLES(ROUTE_TABLE_DECLARE)
ROUTE_TABLE_DECLARE(root) /* at the root: the plain page, /health, /metrics, /docs */

/* Everything that is served: the index of the API. Lives as long as the program. */
const struct route_mount *web_mounts(size_t *ret_count);

#endif
