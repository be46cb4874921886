/* Whatever the bytes are: a tree within its limits that becomes JSON, or an error with a text. */
#include "sweeper/spec/yaml.h"

#include "base/json.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool condition) {
  if (!condition)
    abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  AUTO_ARENA struct arena arena = ARENA_INIT(64 * MIB);
  struct ynode *root = NULL;
  struct yaml_place place;
  struct err err = {0};
  if (!yaml_read(str_n((const char *)data, size), &arena, &root, &place, &err)) {
    must(err.text[0] && !root);
    return 0;
  }
  must(root && root->weight <= 2 * YAML_NODES_MAX);
  AUTO_JSON json_t *json = NULL;
  must(ynode_to_json(root, &json, &err));
  must(ynode_at(root, str_n((const char *)data, size)) != NULL);
  return 0;
}
