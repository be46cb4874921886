/* Intrusive doubly linked list. A node knows its list, so it can be removed without naming it. */
#ifndef WINNOW_BASE_LIST_H
#define WINNOW_BASE_LIST_H

#include "base/base.h"

struct list_node {
  struct list_node *prev, *next;
  struct list *list; /* NULL when in none */
};

struct list {
  struct list_node *first, *last;
  size_t count;
};

static inline void list_push_back(struct list *list, struct list_node *node) {
  node->list = list;
  node->next = NULL;
  node->prev = list->last;
  if (list->last)
    list->last->next = node;
  else
    list->first = node;
  list->last = node;
  list->count++;
}

static inline void list_push_front(struct list *list, struct list_node *node) {
  node->list = list;
  node->prev = NULL;
  node->next = list->first;
  if (list->first)
    list->first->prev = node;
  else
    list->last = node;
  list->first = node;
  list->count++;
}

/* Does nothing when the node is in no list. */
static inline void list_remove(struct list_node *node) {
  struct list *list = node->list;
  if (!list)
    return;
  if (node->prev)
    node->prev->next = node->next;
  else
    list->first = node->next;
  if (node->next)
    node->next->prev = node->prev;
  else
    list->last = node->prev;
  list->count--;
  node->prev = node->next = NULL;
  node->list = NULL;
}

/* NULL when empty. */
static inline struct list_node *list_pop_front(struct list *list) {
  struct list_node *node = list->first;
  if (node)
    list_remove(node);
  return node;
}

/* The body may remove the current node. */
#define LIST_EACH(list_ptr, node)                                                                 \
  for (struct list_node *node = (list_ptr)->first, *node##_next = node ? node->next : NULL; node; \
       node = node##_next, node##_next = node ? node->next : NULL)

#define LIST_ENTRY(node, type, member) CONTAINER_OF(node, type, member)

#endif
