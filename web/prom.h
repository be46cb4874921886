/* What Prometheus reads at /metrics: requests by route, method and status, their time, and gauges of the parts. */
#ifndef WINNOW_WEB_PROM_H
#define WINNOW_WEB_PROM_H

#include "base/buf.h"
#include "web/http/http_server.h"

struct prom;
struct web_app;

MUST_CHECK struct prom *prom_new(struct err *err);
void prom_free(struct prom *prom); /* accepts NULL */
/* An http_observe_fn; ctx is the struct prom. */
void prom_observe(void *prom, const struct http_observation *observation);
/* The exposition format, version 0.0.4. */
void prom_write(const struct prom *prom, const struct web_app *app, struct buf *out);

#endif
