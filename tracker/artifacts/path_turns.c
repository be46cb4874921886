#include "tracker/artifacts/path_turns.h"

static bool is_at_or_below(struct str path, struct str top) {
  return top.n == 0 || (str_starts(path, top) && (path.n == top.n || path.p[top.n] == '/'));
}

/* Does nobody before it in the list stand in its way? */
static bool is_free(struct path_turn *turn) {
  bool is_free = true;
  for (struct list_node *node = turn->node.prev; node && is_free; node = node->prev) {
    struct str path = LIST_ENTRY(node, struct path_turn, node)->path;
    is_free = !is_at_or_below(path, turn->path) && !is_at_or_below(turn->path, path);
  }
  return is_free;
}

bool path_turn_take(struct list *turns, struct path_turn *turn) {
  list_push_back(turns, &turn->node);
  turn->is_on = is_free(turn);
  return turn->is_on;
}

static struct path_turn *next_free(const struct list *turns) {
  for (struct list_node *node = turns->first; node; node = node->next) {
    struct path_turn *turn = LIST_ENTRY(node, struct path_turn, node);
    if (!turn->is_on && is_free(turn))
      return turn;
  }
  return NULL;
}

/* Whose turn it is may end it at once, from its `fn`. */
void path_turn_end(struct path_turn *turn) {
  struct list *turns = turn->node.list;
  struct path_turn *next;
  list_remove(&turn->node);
  while (turns && (next = next_free(turns)) != NULL) {
    next->is_on = true;
    next->fn(next->ctx);
  }
}
