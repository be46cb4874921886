/* Shapes of the public contract as JSON Schema, named by the rows of the route tables. */
#ifndef WINNOW_WEB_SCHEMAS_H
#define WINNOW_WEB_SCHEMAS_H

#include "base/base.h"

struct api_schema {
  const char *name;
  const char *json;
};

extern const struct api_schema api_schemas[];
extern const size_t api_schema_count;

#endif
