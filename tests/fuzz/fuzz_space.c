/* Any JSON as a space: it is refused with a reason, or points can be drawn from it that survive the way to JSON and back. */
#include <math.h>

#include "base/json.h"
#include "sampler/draw.h"
#include "tests/support/fuzz.h"

static void try_points(const struct space *space) {
  double point[SPACE_PARAMS_MAX], again[SPACE_PARAMS_MAX];
  for (uint64_t n = 0; n < 3; n++) {
    draw_point(space, 1, n, 0, NULL, point);
    space_allows(space, point);
    AUTO_JSON json_t *json = space_point_to_json(space, point);
    struct err err;
    claim(json && space_point_from_json(space, json, SPACE_EXACTLY, again, &err));
    for (size_t i = 0; i < space_count(space); i++) {
      double u = space_u(space, i, point[i]);
      if (!isnan(u) && !(u >= 0 && u <= 1))
        abort();
    }
  }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  AUTO_JSON json_t *json = NULL;
  struct err err = {0};
  if (size > 4096 || !json_read(str_n((const char *)data, size), &json, &err))
    return 0;
  struct space *space;
  if (!space_new(json_object_get(json, "parameters"), json_object_get(json, "conditions"), json_object_get(json, "constraints"), &space,
                 &err)) {
    claim(err.text[0]);
    return 0;
  }
  try_points(space);
  space_free(space);
  return 0;
}
