#include "web/http/http_method.h"

static const struct str names[HTTP_METHOD_COUNT] = {
    [HTTP_GET] = {"GET", 3},     [HTTP_HEAD] = {"HEAD", 4},     [HTTP_POST] = {"POST", 4},       [HTTP_PUT] = {"PUT", 3},
    [HTTP_PATCH] = {"PATCH", 5}, [HTTP_DELETE] = {"DELETE", 6}, [HTTP_OPTIONS] = {"OPTIONS", 7},
};

const char *http_method_name(enum http_method method) {
  return names[method].p;
}

bool http_method_parse(struct str text, enum http_method *ret) {
  for (int i = 0; i < HTTP_METHOD_COUNT; i++)
    if (str_eq(text, names[i])) {
      *ret = (enum http_method)i;
      return true;
    }
  return false;
}
