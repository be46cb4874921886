#include "tracker/artifacts/path_turns.h"

bool path_turn_excludes(struct str a, struct str b) {
  return str_is_at_or_below(a, b) || str_is_at_or_below(b, a);
}

static struct path_turn *turn_of(struct list_node *node) {
  return LIST_ENTRY(node, struct path_turn, node);
}

enum path_turn_when path_turn_take(struct path_turns *turns, struct path_turn *turn, struct err *err) {
  if (turns->all.count >= PATH_TURNS_MAX) {
    err_set(err, ERR_OVERLOADED, "%d changes of files are under way already", PATH_TURNS_MAX);
    return PATH_TURN_REFUSED;
  }
  turn->before = 0;
  for (struct list_node *node = turns->all.first; node; node = node->next)
    turn->before += path_turn_excludes(turn_of(node)->path, turn->path);
  turn->turns = turns;
  list_push_back(&turns->all, &turn->node);
  return turn->before ? PATH_TURN_LATER : PATH_TURN_NOW;
}

/* Whose turn it is may end it at once, from its `fn`: that one adds to the list, and returns here. */
static void tell_ready(struct path_turns *turns) {
  if (turns->telling)
    return;
  turns->telling = true;
  for (struct list_node *node; (node = list_pop_front(&turns->ready));) {
    const struct path_turn *turn = LIST_ENTRY(node, struct path_turn, ready);
    turn->fn(turn->ctx);
  }
  turns->telling = false;
}

void path_turn_end(struct path_turn *turn) {
  struct path_turns *turns = turn->turns;
  if (!turns)
    return;
  for (struct list_node *node = turn->node.next; node; node = node->next) {
    struct path_turn *later = turn_of(node);
    if (path_turn_excludes(turn->path, later->path) && --later->before == 0)
      list_push_back(&turns->ready, &later->ready);
  }
  turn->turns = NULL;
  list_remove(&turn->node);
  list_remove(&turn->ready);
  tell_ready(turns);
}
