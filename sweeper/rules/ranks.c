#include "sweeper/rules/ranks.h"

#include <math.h>

#include "base/mem.h"
#include "base/rng.h"

void ranks_init(struct ranks *ranks, uint32_t max) {
  *ranks = (struct ranks){.max = max};
}

void ranks_release(struct ranks *ranks) {
  mem_free(ranks->nodes);
  *ranks = (struct ranks){.max = ranks->max};
}

int ranks_compare(double a, double b) {
  if (isnan(a) || isnan(b))
    return isnan(a) - isnan(b);
  return (a > b) - (a < b);
}

static int order(double value, uint32_t id, const struct ranks_node *node) {
  int by_value = ranks_compare(value, node->value);
  return by_value ? by_value : (id > node->id) - (id < node->id);
}

/* A heap order that follows from the content. */
static uint64_t priority(const struct ranks_node *node) {
  uint64_t bits;
  memcpy(&bits, &node->value, sizeof bits);
  return rng_mix(bits ^ rng_mix(node->id + 1));
}

static void resize(struct ranks *r, uint32_t at) {
  r->nodes[at].size = r->nodes[r->nodes[at].child[0]].size + r->nodes[r->nodes[at].child[1]].size + 1;
}

static uint32_t take_node(struct ranks *r) {
  if (r->free) {
    uint32_t at = r->free;
    r->free = r->nodes[at].child[0];
    return at;
  }
  if (r->used + 1 >= r->cap) {
    uint32_t cap = r->cap ? r->cap * 2 : 8;
    struct ranks_node *bigger = mem_resize(r->nodes, cap, sizeof *bigger);
    if (!bigger)
      return 0;
    if (!r->nodes)
      bigger[0] = (struct ranks_node){0};
    r->nodes = bigger;
    r->cap = cap;
  }
  return ++r->used;
}

/* Splits into what comes before (value, id) and the rest. */
static void split(struct ranks *r, uint32_t at, double value, uint32_t id, uint32_t *left, uint32_t *right) {
  if (!at) {
    *left = *right = 0;
  } else if (order(value, id, &r->nodes[at]) <= 0) {
    uint32_t middle;
    split(r, r->nodes[at].child[0], value, id, left, &middle);
    r->nodes[at].child[0] = middle;
    resize(r, at);
    *right = at;
  } else {
    uint32_t middle;
    split(r, r->nodes[at].child[1], value, id, &middle, right);
    r->nodes[at].child[1] = middle;
    resize(r, at);
    *left = at;
  }
}

static uint32_t join(struct ranks *r, uint32_t left, uint32_t right) {
  if (!left || !right)
    return left + right;
  uint32_t top = priority(&r->nodes[left]) > priority(&r->nodes[right]) ? left : right;
  if (top == left)
    r->nodes[left].child[1] = join(r, r->nodes[left].child[1], right);
  else
    r->nodes[right].child[0] = join(r, left, r->nodes[right].child[0]);
  resize(r, top);
  return top;
}

bool ranks_add(struct ranks *r, double value, uint32_t id) {
  if (ranks_count(r) >= r->max)
    return false;
  uint32_t at = take_node(r);
  if (!at)
    return false;
  r->nodes[at] = (struct ranks_node){.value = value, .id = id, .size = 1};
  uint64_t mine = priority(&r->nodes[at]);
  uint32_t *link = &r->root; /* down to where the new node stands */
  while (*link && priority(&r->nodes[*link]) > mine) {
    r->nodes[*link].size++;
    link = &r->nodes[*link].child[order(value, id, &r->nodes[*link]) > 0];
  }
  split(r, *link, value, id, &r->nodes[at].child[0], &r->nodes[at].child[1]);
  resize(r, at);
  *link = at;
  return true;
}

static bool remove_below(struct ranks *r, uint32_t *link, double value, uint32_t id) {
  if (!*link)
    return false;
  struct ranks_node *node = &r->nodes[*link];
  int side = order(value, id, node);
  if (side == 0) {
    uint32_t gone = *link;
    *link = join(r, node->child[0], node->child[1]);
    r->nodes[gone].child[0] = r->free;
    r->free = gone;
    return true;
  }
  if (!remove_below(r, &node->child[side > 0], value, id))
    return false;
  node->size--;
  return true;
}

bool ranks_remove(struct ranks *r, double value, uint32_t id) {
  return r->nodes && remove_below(r, &r->root, value, id);
}

uint32_t ranks_below(const struct ranks *r, double value) {
  uint32_t count = 0;
  for (uint32_t at = r->nodes ? r->root : 0; at;) {
    if (ranks_compare(r->nodes[at].value, value) < 0) {
      count += r->nodes[r->nodes[at].child[0]].size + 1;
      at = r->nodes[at].child[1];
    } else {
      at = r->nodes[at].child[0];
    }
  }
  return count;
}

uint32_t ranks_before(const struct ranks *r, double value, uint32_t id) {
  uint32_t count = 0;
  for (uint32_t at = r->nodes ? r->root : 0; at;) {
    bool after = order(value, id, &r->nodes[at]) > 0;
    if (after)
      count += r->nodes[r->nodes[at].child[0]].size + 1;
    at = r->nodes[at].child[after];
  }
  return count;
}

static const struct ranks_node *node_at(const struct ranks *r, uint32_t index) {
  uint32_t at = r->root;
  for (;;) {
    uint32_t left = r->nodes[r->nodes[at].child[0]].size;
    if (index == left)
      return &r->nodes[at];
    if (index < left) {
      at = r->nodes[at].child[0];
    } else {
      index -= left + 1;
      at = r->nodes[at].child[1];
    }
  }
}

double ranks_at(const struct ranks *r, uint32_t index) {
  return node_at(r, index)->value;
}

uint32_t ranks_id_at(const struct ranks *r, uint32_t index) {
  return node_at(r, index)->id;
}
