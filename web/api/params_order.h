/* Parameters in the order in which the sweep's file declares them. The database keeps them as jsonb, which orders keys by their length. */
#ifndef WINNOW_WEB_PARAMS_ORDER_H
#define WINNOW_WEB_PARAMS_ORDER_H

#include "base/json.h"

/* The declarations, as the database takes them out of a sweep's normal form (sweep.params_order): in its order, those without an object in
 * them as null. NULL: there are none, or they cannot be read. The caller owns them. */
MUST_CHECK json_t *params_declared(struct str order);
/* Typed and nested, as a trial's. `declared` NULL: as they are. What is not declared comes last. NULL without memory; the caller owns it.
 */
MUST_CHECK json_t *params_in_order(const json_t *declared, const json_t *params);
/* Texts with dotted names, as a run's. */
MUST_CHECK json_t *params_in_order_flat(const json_t *declared, const json_t *params);

/* Of a sweep that is over what it shows, as it was stored with its end, with its best in the order of the file; and its spec, which is JSON
 * already (without p: null). */
void params_order_put_summary(struct json_writer *w, struct str summary, struct str order, struct str spec);

#endif
