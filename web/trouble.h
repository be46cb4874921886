/* What is wrong with the service while it works on: each with its place and what to do about it. */
#ifndef WINNOW_WEB_TROUBLE_H
#define WINNOW_WEB_TROUBLE_H

#include "base/json.h"
#include "web/app.h"

bool trouble_is_there(const struct web_app *app);
/* An array of {"detail", "place", "hint"}; places on the machine are for insiders. */
void trouble_put(const struct web_app *app, bool insider, struct json_writer *w);
/* "the database" */
const char *trouble_disk_holds(enum web_disk_use use);

#endif
