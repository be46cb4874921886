#include "sweeper/machine/schedule.h"

#include "base/mem.h"
#include "sweeper/rules/ranks.h"

#define NONE UINT32_MAX
enum { WORDS = SCHEDULE_SLOTS_MAX / 64 + 1, KEEP_LOOKS_MAX = 64 };

/* ---- a binary heap whose members know their place; keys lie in it, so that comparing touches nothing else ---- */

struct entry {
  int64_t key;     /* the lower goes first */
  uint64_t serial; /* among equals the older one */
  uint32_t id;
};

struct heap {
  struct entry *items;
  uint32_t count, cap;
};

typedef void (*heap_moved)(struct schedule *s, uint32_t id, uint32_t place);

static bool entry_before(const struct entry *a, const struct entry *b) {
  return a->key != b->key ? a->key < b->key : a->serial < b->serial;
}

static void heap_put(struct schedule *s, struct heap *h, heap_moved moved, uint32_t place, struct entry item) {
  h->items[place] = item;
  moved(s, item.id, place);
}

static void heap_up(struct schedule *s, struct heap *h, heap_moved moved, uint32_t place) {
  struct entry item = h->items[place];
  while (place > 0 && entry_before(&item, &h->items[(place - 1) / 2])) {
    heap_put(s, h, moved, place, h->items[(place - 1) / 2]);
    place = (place - 1) / 2;
  }
  heap_put(s, h, moved, place, item);
}

static void heap_down(struct schedule *s, struct heap *h, heap_moved moved, uint32_t place) {
  struct entry item = h->items[place];
  for (;;) {
    uint32_t child = 2 * place + 1;
    if (child + 1 < h->count && entry_before(&h->items[child + 1], &h->items[child]))
      child++;
    if (child >= h->count || !entry_before(&h->items[child], &item))
      break;
    heap_put(s, h, moved, place, h->items[child]);
    place = child;
  }
  heap_put(s, h, moved, place, item);
}

/* Room was made by heap_reserve(). */
static void heap_add(struct schedule *s, struct heap *h, heap_moved moved, struct entry item) {
  h->items[h->count] = item;
  heap_up(s, h, moved, h->count++);
}

static void heap_take(struct schedule *s, struct heap *h, heap_moved moved, uint32_t place) {
  moved(s, h->items[place].id, NONE);
  if (place == --h->count)
    return;
  struct entry last = h->items[h->count];
  heap_put(s, h, moved, place, last);
  heap_up(s, h, moved, place);
  if (h->items[place].id == last.id)
    heap_down(s, h, moved, place);
}

static bool heap_reserve(struct heap *h, uint32_t members) {
  if (members <= h->cap)
    return true;
  uint32_t cap = MAX_OF(h->cap * 2, MAX_OF(members, 4u));
  struct entry *bigger = mem_resize(h->items, cap, sizeof *bigger);
  if (!bigger)
    return false;
  h->items = bigger;
  h->cap = cap;
  return true;
}

/* ---- the objects ---- */

enum job_state { JOB_FREE, JOB_WAITING, JOB_HELD, JOB_PLACED };

struct job {
  void *owner;
  int64_t key; /* as in struct entry */
  uint64_t serial;
  int64_t since;
  uint32_t line;
  uint32_t place; /* in its line's heap; the next one when free */
  uint32_t node;
  uint16_t slots;
  uint8_t state;
};

/* The jobs of one group that want the same number of slots. */
struct line {
  struct heap jobs;
  uint32_t group;
  uint32_t members; /* waiting or held */
  uint32_t place;   /* in its bucket's heap, or NONE */
  uint32_t next;    /* of the same group */
  uint16_t slots;
};

struct group {
  uint32_t first_line; /* the next free group when unused */
  uint32_t jobs;       /* all together */
  uint32_t running, max_parallel;
  bool used, paused;
};

/* All lines that want the same number of slots and may go on. */
struct bucket {
  struct heap lines;
  uint32_t line_count; /* that exist */
  uint32_t kept;       /* a node kept free for its first job, or NONE */
};

struct node {
  uint32_t *jobs;      /* by slot, or NONE */
  uint32_t prev, next; /* among those with as many free slots */
  uint16_t total, used;
  uint16_t kept_for; /* wanted slots, or 0 */
  uint8_t state;
  bool listed;
};

struct schedule {
  struct job *jobs;
  uint32_t job_count, job_cap, free_job;
  struct line *lines;
  uint32_t line_count, line_cap, free_line;
  struct group *groups;
  uint32_t group_count, group_cap, free_group;
  struct node *nodes;
  uint32_t node_count, node_cap;
  struct bucket buckets[SCHEDULE_SLOTS_MAX + 1];
  uint64_t bucket_bits[WORDS];                 /* which have lines that may go on */
  uint32_t free_lists[SCHEDULE_SLOTS_MAX + 1]; /* nodes by free slots */
  uint64_t free_bits[WORDS];
  uint32_t up_by_total[SCHEDULE_SLOTS_MAX + 1];
  unsigned largest_up;
  struct ranks order; /* of all that wait or are held */
  uint64_t serial;
  uint16_t chosen[SCHEDULE_SLOTS_MAX];
};

static void bit_set(uint64_t *bits, unsigned i, bool on) {
  if (on)
    bits[i / 64] |= UINT64_C(1) << (i % 64);
  else
    bits[i / 64] &= ~(UINT64_C(1) << (i % 64));
}

/* The first set bit at or after i, or NONE. */
static uint32_t bit_from(const uint64_t *bits, unsigned i) {
  if (i > SCHEDULE_SLOTS_MAX)
    return NONE;
  uint64_t word = bits[i / 64] & (~UINT64_C(0) << (i % 64));
  for (unsigned w = i / 64;; word = bits[w]) {
    if (word)
      return w * 64 + (unsigned)__builtin_ctzll(word);
    if (++w == WORDS)
      return NONE;
  }
}

/* The last set bit before i, or NONE. */
static uint32_t bit_before(const uint64_t *bits, unsigned i) {
  while (i-- > 0)
    if (bits[i / 64] >> (i % 64) & 1)
      return i;
  return NONE;
}

static void job_moved(struct schedule *s, uint32_t job, uint32_t place) {
  s->jobs[job].place = place;
}

static void line_moved(struct schedule *s, uint32_t line, uint32_t place) {
  s->lines[line].place = place;
}

bool schedule_new(struct schedule **ret, struct err *err) {
  struct schedule *s = mem_zalloc(sizeof *s);
  if (!s)
    return err_no_memory(err);
  s->free_job = s->free_line = s->free_group = NONE;
  for (unsigned i = 0; i <= SCHEDULE_SLOTS_MAX; i++) {
    s->free_lists[i] = NONE;
    s->buckets[i].kept = NONE;
  }
  ranks_init(&s->order, SCHEDULE_JOBS_MAX);
  uint32_t alone;
  if (!schedule_group_add(s, &alone, err)) {
    schedule_free(s);
    return false;
  }
  *ret = s;
  return true;
}

void schedule_free(struct schedule *s) {
  if (!s)
    return;
  for (uint32_t i = 0; i < s->line_count; i++)
    mem_free(s->lines[i].jobs.items);
  for (uint32_t i = 0; i < s->node_count; i++)
    mem_free(s->nodes[i].jobs);
  for (unsigned i = 0; i <= SCHEDULE_SLOTS_MAX; i++)
    mem_free(s->buckets[i].lines.items);
  mem_free(s->jobs);
  mem_free(s->lines);
  mem_free(s->groups);
  mem_free(s->nodes);
  ranks_release(&s->order);
  mem_free(s);
}

/* An array element of the pool: a freed one, or a new one. NONE at the ceiling or without memory. */
static uint32_t pool_take(void *array_ptr, size_t size, uint32_t *count, uint32_t *cap, uint32_t max) {
  void **array = array_ptr;
  if (*count == *cap) {
    uint32_t bigger_cap = MAX_OF(*cap * 2, 16u);
    if (*count >= max)
      return NONE;
    void *bigger = mem_resize(*array, bigger_cap, size);
    if (!bigger)
      return NONE;
    *array = bigger;
    *cap = bigger_cap;
  }
  return (*count)++;
}

/* ---- nodes ---- */

static unsigned node_free(const struct node *node) {
  return node->total - node->used;
}

static void unlist(struct schedule *s, uint32_t n) {
  struct node *node = &s->nodes[n];
  if (!node->listed)
    return;
  unsigned free = node_free(node);
  if (node->prev != NONE)
    s->nodes[node->prev].next = node->next;
  else
    s->free_lists[free] = node->next;
  if (node->next != NONE)
    s->nodes[node->next].prev = node->prev;
  node->listed = false;
  bit_set(s->free_bits, free, s->free_lists[free] != NONE);
}

/* In the list of its free slots, unless it takes no jobs or is kept. */
static void list(struct schedule *s, uint32_t n) {
  struct node *node = &s->nodes[n];
  if (node->listed || node->state != NODE_UP || node->kept_for)
    return;
  unsigned free = node_free(node);
  node->prev = NONE;
  node->next = s->free_lists[free];
  if (node->next != NONE)
    s->nodes[node->next].prev = n;
  s->free_lists[free] = n;
  node->listed = true;
  bit_set(s->free_bits, free, true);
}

static void count_up(struct schedule *s, const struct node *node, bool up) {
  s->up_by_total[node->total] += up ? 1 : UINT32_MAX;
  if (up)
    s->largest_up = MAX_OF(s->largest_up, (unsigned)node->total);
  while (s->largest_up > 0 && !s->up_by_total[s->largest_up])
    s->largest_up--;
}

static void unkeep(struct schedule *s, unsigned slots) {
  uint32_t n = s->buckets[slots].kept;
  if (n == NONE)
    return;
  s->buckets[slots].kept = NONE;
  s->nodes[n].kept_for = 0;
  list(s, n);
}

bool schedule_node_add(struct schedule *s, unsigned slots, uint32_t *ret_node, struct err *err) {
  if (slots < 1 || slots > SCHEDULE_SLOTS_MAX)
    return err_set(err, ERR_INVALID, "a node has 1 to %d slots, not %u", SCHEDULE_SLOTS_MAX, slots);
  uint32_t *jobs = mem_array(slots, sizeof *jobs);
  uint32_t n = jobs ? pool_take(&s->nodes, sizeof *s->nodes, &s->node_count, &s->node_cap, SCHEDULE_NODES_MAX) : NONE;
  if (n == NONE) {
    mem_free(jobs);
    return err_no_memory(err);
  }
  for (unsigned i = 0; i < slots; i++)
    jobs[i] = NONE;
  s->nodes[n] = (struct node){.jobs = jobs, .total = (uint16_t)slots, .state = NODE_UP};
  count_up(s, &s->nodes[n], true);
  list(s, n);
  *ret_node = n;
  return true;
}

void schedule_node_set(struct schedule *s, uint32_t n, enum schedule_node_state state) {
  struct node *node = &s->nodes[n];
  if (node->state == state)
    return;
  unlist(s, n);
  if (node->kept_for)
    unkeep(s, node->kept_for);
  unlist(s, n);
  if (node->state == NODE_UP)
    count_up(s, node, false);
  node->state = (uint8_t)state;
  if (state == NODE_UP)
    count_up(s, node, true);
  list(s, n);
}

struct schedule_node_info schedule_node_info(const struct schedule *s, uint32_t n) {
  const struct node *node = &s->nodes[n];
  return (struct schedule_node_info){(enum schedule_node_state)node->state, node->total, node->used, node->kept_for != 0};
}

bool schedule_slot_job(const struct schedule *s, uint32_t node, unsigned slot, uint32_t *ret_job) {
  uint32_t job = slot < s->nodes[node].total ? s->nodes[node].jobs[slot] : NONE;
  if (job == NONE)
    return false;
  *ret_job = job;
  return true;
}

/* ---- groups and lines ---- */

static bool group_may(const struct group *group) {
  return !group->paused && (!group->max_parallel || group->running < group->max_parallel);
}

/* Puts a line that was lifted into its bucket again, if its group and its jobs allow. */
static void line_settle(struct schedule *s, uint32_t l) {
  struct line *line = &s->lines[l];
  struct bucket *bucket = &s->buckets[line->slots];
  if (line->jobs.count && group_may(&s->groups[line->group])) {
    struct entry entry = line->jobs.items[0];
    entry.id = l;
    heap_add(s, &bucket->lines, line_moved, entry);
  }
  bit_set(s->bucket_bits, line->slots, bucket->lines.count != 0);
  if (!bucket->lines.count)
    unkeep(s, line->slots);
}

/* Out of its bucket while its head or its group changes: the heap's order hangs on them. */
static void line_lift(struct schedule *s, uint32_t l) {
  struct line *line = &s->lines[l];
  if (line->place != NONE)
    heap_take(s, &s->buckets[line->slots].lines, line_moved, line->place);
}

static void group_settle(struct schedule *s, uint32_t g) {
  for (uint32_t l = s->groups[g].first_line; l != NONE; l = s->lines[l].next) {
    line_lift(s, l);
    line_settle(s, l);
  }
}

bool schedule_group_add(struct schedule *s, uint32_t *ret_group, struct err *err) {
  uint32_t g = s->free_group;
  if (g != NONE)
    s->free_group = s->groups[g].first_line;
  else
    g = pool_take(&s->groups, sizeof *s->groups, &s->group_count, &s->group_cap, SCHEDULE_GROUPS_MAX);
  if (g == NONE)
    return err_no_memory(err);
  s->groups[g] = (struct group){.first_line = NONE, .used = true};
  *ret_group = g;
  return true;
}

void schedule_group_set(struct schedule *s, uint32_t g, uint32_t max_parallel, bool paused) {
  s->groups[g].max_parallel = max_parallel;
  s->groups[g].paused = paused;
  group_settle(s, g);
}

uint32_t schedule_group_held(const struct schedule *s, uint32_t g) {
  uint32_t held = 0;
  for (uint32_t l = s->groups[g].first_line; l != NONE; l = s->lines[l].next)
    held += s->lines[l].members - (uint32_t)s->lines[l].jobs.count;
  return held;
}

void schedule_group_remove(struct schedule *s, uint32_t g) {
  struct group *group = &s->groups[g];
  if (g == SCHEDULE_ALONE || !group->used || group->jobs)
    return;
  for (uint32_t l = group->first_line; l != NONE;) {
    uint32_t next = s->lines[l].next;
    s->buckets[s->lines[l].slots].line_count--;
    mem_free(s->lines[l].jobs.items);
    s->lines[l] = (struct line){.next = s->free_line, .place = NONE};
    s->free_line = l;
    l = next;
  }
  *group = (struct group){.first_line = s->free_group};
  s->free_group = g;
}

/* The line of a group for so many slots, made when there is none. Makes room in the bucket too. */
static uint32_t line_for(struct schedule *s, uint32_t g, unsigned slots) {
  for (uint32_t l = s->groups[g].first_line; l != NONE; l = s->lines[l].next)
    if (s->lines[l].slots == slots)
      return l;
  struct bucket *bucket = &s->buckets[slots];
  if (!heap_reserve(&bucket->lines, bucket->line_count + 1))
    return NONE;
  uint32_t l = s->free_line;
  if (l != NONE)
    s->free_line = s->lines[l].next;
  else
    l = pool_take(&s->lines, sizeof *s->lines, &s->line_count, &s->line_cap, NONE - 1);
  if (l == NONE)
    return NONE;
  s->lines[l] = (struct line){.group = g, .place = NONE, .next = s->groups[g].first_line, .slots = (uint16_t)slots};
  s->groups[g].first_line = l;
  bucket->line_count++;
  return l;
}

/* ---- jobs ---- */

static int64_t key_of(int64_t since, int64_t priority) {
  int64_t head_start, key;
  if (__builtin_mul_overflow(priority, SCHEDULE_AGE_US, &head_start) || __builtin_sub_overflow(since, head_start, &key))
    return priority > 0 ? INT64_MIN : INT64_MAX;
  return key;
}

static uint32_t take_job(struct schedule *s) {
  uint32_t j = s->free_job;
  if (j == NONE)
    return pool_take(&s->jobs, sizeof *s->jobs, &s->job_count, &s->job_cap, SCHEDULE_JOBS_MAX);
  s->free_job = s->jobs[j].place;
  return j;
}

static void give_job(struct schedule *s, uint32_t j) {
  s->jobs[j] = (struct job){.place = s->free_job, .state = JOB_FREE};
  s->free_job = j;
}

static bool make_job(struct schedule *s, const struct schedule_want *want, void *owner, uint32_t *ret_job, struct err *err) {
  if (want->slots < 1 || want->slots > SCHEDULE_SLOTS_MAX)
    return err_set(err, ERR_INVALID, "a job wants 1 to %d slots, not %u", SCHEDULE_SLOTS_MAX, want->slots);
  uint32_t l = line_for(s, want->group, want->slots);
  if (l == NONE || !heap_reserve(&s->lines[l].jobs, s->lines[l].members + 1))
    return err_no_memory(err);
  uint32_t j = take_job(s);
  if (j == NONE)
    return err_no_memory(err);
  s->jobs[j] = (struct job){.owner = owner,
                            .key = key_of(want->since, want->priority),
                            .since = want->since,
                            .serial = s->serial++,
                            .line = l,
                            .place = NONE,
                            .node = NONE,
                            .slots = (uint16_t)want->slots};
  *ret_job = j;
  return true;
}

static void enter_line(struct schedule *s, uint32_t j) {
  uint32_t l = s->jobs[j].line;
  s->jobs[j].state = JOB_WAITING;
  line_lift(s, l);
  heap_add(s, &s->lines[l].jobs, job_moved, (struct entry){s->jobs[j].key, s->jobs[j].serial, j});
  line_settle(s, l);
}

static void leave_line(struct schedule *s, uint32_t j) {
  uint32_t l = s->jobs[j].line;
  line_lift(s, l);
  heap_take(s, &s->lines[l].jobs, job_moved, s->jobs[j].place);
  line_settle(s, l);
}

bool schedule_job_add(struct schedule *s, const struct schedule_want *want, void *owner, uint32_t *ret_job, struct err *err) {
  uint32_t j;
  if (!make_job(s, want, owner, &j, err))
    return false;
  if (!ranks_add(&s->order, (double)s->jobs[j].key, j)) {
    give_job(s, j);
    return err_no_memory(err);
  }
  s->lines[s->jobs[j].line].members++;
  s->groups[want->group].jobs++;
  if (want->held)
    s->jobs[j].state = JOB_HELD;
  else
    enter_line(s, j);
  *ret_job = j;
  return true;
}

static void occupy(struct schedule *s, uint32_t j, uint32_t n, const uint16_t *slots) {
  struct job *job = &s->jobs[j];
  struct node *node = &s->nodes[n];
  unlist(s, n);
  for (unsigned i = 0; i < job->slots; i++)
    node->jobs[slots[i]] = j;
  node->used = (uint16_t)(node->used + job->slots);
  job->node = n;
  job->state = JOB_PLACED;
  s->groups[s->lines[job->line].group].running++;
  list(s, n);
}

bool schedule_job_adopt(struct schedule *s, const struct schedule_want *want, void *owner, uint32_t n, const uint16_t *slots,
                        uint32_t *ret_job, struct err *err) {
  const struct node *node = &s->nodes[n];
  for (unsigned i = 0; i < want->slots; i++) {
    if (slots[i] >= node->total || node->jobs[slots[i]] != NONE)
      return err_set(err, ERR_CONFLICT, "slot %u of the node is not free", slots[i]);
    for (unsigned k = 0; k < i; k++)
      if (slots[k] == slots[i])
        return err_set(err, ERR_INVALID, "slot %u is named twice", slots[i]);
  }
  uint32_t j;
  if (!make_job(s, want, owner, &j, err))
    return false;
  s->groups[want->group].jobs++;
  occupy(s, j, n, slots);
  group_settle(s, want->group);
  *ret_job = j;
  return true;
}

bool schedule_is_waiting(const struct schedule *s, uint32_t j) {
  return s->jobs[j].state == JOB_WAITING || s->jobs[j].state == JOB_HELD;
}

static void job_rekey(struct schedule *s, uint32_t j, int64_t key, bool held) {
  struct job *job = &s->jobs[j];
  if (job->state == JOB_WAITING)
    leave_line(s, j);
  ranks_remove(&s->order, (double)job->key, j);
  job->key = key;
  if (!ranks_add(&s->order, (double)job->key, j))
    job->key = INT64_MAX; /* cannot be: the entry just removed is used again */
  job->state = JOB_HELD;
  if (!held)
    enter_line(s, j);
}

void schedule_job_set(struct schedule *s, uint32_t j, int64_t priority, bool held) {
  if (schedule_is_waiting(s, j))
    job_rekey(s, j, key_of(s->jobs[j].since, priority), held);
}

void schedule_job_move(struct schedule *s, uint32_t j, int64_t since, int64_t priority, bool held) {
  if (!schedule_is_waiting(s, j))
    return;
  s->jobs[j].since = since;
  s->jobs[j].serial = s->serial++;
  job_rekey(s, j, key_of(since, priority), held);
}

static int64_t key_at(const struct schedule *s, size_t position) {
  return s->jobs[ranks_id_at(&s->order, (uint32_t)position)].key;
}

int64_t schedule_since_at(const struct schedule *s, uint32_t j, int64_t priority, size_t position) {
  size_t own = schedule_position(s, j), others = schedule_waiting(s) - 1;
  int64_t head_start, key, since;
  position = MIN_OF(position, others);
  if (position == own || !others)
    return s->jobs[j].since;
  size_t after = position < own ? position : position + 1; /* whom it would stand before, itself not counted */
  enum { ROOM_US = 500 };                                  /* for others that are to stand between */
  if (position == 0) {
    key = key_at(s, after) - ROOM_US;
  } else {
    int64_t low = key_at(s, position - 1 < own ? position - 1 : position);
    key = position == others ? low + ROOM_US : low + (key_at(s, after) - low) / 2;
  }
  if (__builtin_mul_overflow(priority, SCHEDULE_AGE_US, &head_start) || __builtin_add_overflow(key, head_start, &since))
    return s->jobs[j].since;
  return since;
}

void schedule_job_give(struct schedule *s, uint32_t j, void *owner) {
  s->jobs[j].owner = owner;
}

void schedule_job_remove(struct schedule *s, uint32_t j) {
  struct job *job = &s->jobs[j];
  uint32_t g = s->lines[job->line].group;
  if (job->state == JOB_FREE)
    return;
  if (job->state == JOB_PLACED) {
    struct node *node = &s->nodes[job->node];
    unlist(s, job->node);
    for (unsigned i = 0; i < node->total; i++)
      if (node->jobs[i] == j)
        node->jobs[i] = NONE;
    node->used = (uint16_t)(node->used - job->slots);
    list(s, job->node);
    s->groups[g].running--;
  } else {
    if (job->state == JOB_WAITING)
      leave_line(s, j);
    ranks_remove(&s->order, (double)job->key, j);
    s->lines[job->line].members--;
  }
  bool placed = job->state == JOB_PLACED;
  s->groups[g].jobs--;
  give_job(s, j);
  if (placed)
    group_settle(s, g);
}

/* ---- deciding ---- */

/* The first job of a size; its id is its line's. */
static const struct entry *head_of(const struct schedule *s, unsigned slots) {
  return &s->buckets[slots].lines.items[0];
}

/* Of the nodes that are nobody's, one that fits most tightly; or the node kept for this size. */
static uint32_t fitting_node(const struct schedule *s, unsigned slots) {
  uint32_t kept = s->buckets[slots].kept;
  if (kept != NONE && node_free(&s->nodes[kept]) >= slots)
    return kept;
  uint32_t free = bit_from(s->free_bits, slots);
  return free == NONE ? NONE : s->free_lists[free];
}

/* The first job of all may take what is kept for others. */
static uint32_t any_fitting_node(const struct schedule *s, unsigned slots) {
  uint32_t n = fitting_node(s, slots);
  for (uint32_t b = 1; n == NONE && b <= SCHEDULE_SLOTS_MAX; b++) {
    b = bit_from(s->bucket_bits, b);
    if (b == NONE)
      break;
    uint32_t kept = s->buckets[b].kept;
    if (kept != NONE && node_free(&s->nodes[kept]) >= slots)
      n = kept;
  }
  return n;
}

/* Keeps the emptiest node that could ever fit; as the first of all it may take one kept for others. */
static void keep_node(struct schedule *s, unsigned slots) {
  if (slots == 1 || s->buckets[slots].kept != NONE || slots > s->largest_up)
    return; /* one slot needs no gathering */
  uint32_t best = NONE;
  unsigned looks = 0;
  for (uint32_t free = bit_before(s->free_bits, slots); free != NONE && best == NONE; free = bit_before(s->free_bits, free))
    for (uint32_t n = s->free_lists[free]; n != NONE && best == NONE && looks < KEEP_LOOKS_MAX; n = s->nodes[n].next, looks++)
      if (s->nodes[n].total >= slots)
        best = n;
  for (uint32_t b = bit_from(s->bucket_bits, 1); b != NONE && best == NONE; b = bit_from(s->bucket_bits, b + 1))
    if (s->buckets[b].kept != NONE && s->nodes[s->buckets[b].kept].total >= slots) {
      best = s->buckets[b].kept;
      unkeep(s, b);
    }
  if (best == NONE)
    return;
  unlist(s, best);
  s->nodes[best].kept_for = (uint16_t)slots;
  s->buckets[slots].kept = best;
}

static void place(struct schedule *s, uint32_t j, uint32_t n, struct schedule_placement *ret) {
  struct job *job = &s->jobs[j];
  struct node *node = &s->nodes[n];
  unsigned slots = job->slots, count = 0;
  for (unsigned i = 0; i < node->total && count < slots; i++)
    if (node->jobs[i] == NONE)
      s->chosen[count++] = (uint16_t)i;
  leave_line(s, j);
  ranks_remove(&s->order, (double)job->key, j);
  s->lines[job->line].members--;
  if (node->kept_for)
    unkeep(s, node->kept_for);
  unkeep(s, slots);
  occupy(s, j, n, s->chosen);
  group_settle(s, s->lines[job->line].group);
  *ret = (struct schedule_placement){.job = j, .owner = job->owner, .node = n, .count = slots, .slots = s->chosen};
}

/* The size whose head is first of all that may go on and that some node could hold; 0: there is none. */
static unsigned first_size(const struct schedule *s) {
  unsigned first = 0;
  for (uint32_t b = bit_from(s->bucket_bits, 1); b != NONE; b = bit_from(s->bucket_bits, b + 1))
    if (b <= s->largest_up && (!first || entry_before(head_of(s, b), head_of(s, first))))
      first = b;
  return first;
}

static uint32_t first_job(const struct schedule *s, unsigned size) {
  return s->lines[head_of(s, size)->id].jobs.items[0].id;
}

bool schedule_next(struct schedule *s, struct schedule_placement *ret) {
  unsigned first = first_size(s);
  if (!first)
    return false;
  uint32_t node = any_fitting_node(s, first);
  unsigned chosen = first;
  if (node == NONE) {
    keep_node(s, first);
    for (uint32_t b = bit_from(s->bucket_bits, 1); b != NONE; b = bit_from(s->bucket_bits, b + 1)) {
      uint32_t fits = fitting_node(s, b);
      if (fits != NONE && (node == NONE || entry_before(head_of(s, b), head_of(s, chosen)))) {
        node = fits;
        chosen = b;
      }
    }
  }
  if (node == NONE)
    return false;
  place(s, first_job(s, chosen), node, ret);
  return true;
}

/* ---- asking ---- */

size_t schedule_waiting(const struct schedule *s) {
  return ranks_count(&s->order);
}

size_t schedule_position(const struct schedule *s, uint32_t j) {
  return ranks_before(&s->order, (double)s->jobs[j].key, j);
}

void *schedule_owner(const struct schedule *s, uint32_t j) {
  return s->jobs[j].owner;
}

void *schedule_owner_at(const struct schedule *s, size_t position) {
  return s->jobs[ranks_id_at(&s->order, (uint32_t)position)].owner;
}

unsigned schedule_job_slots(const struct schedule *s, uint32_t j, uint16_t slots[SCHEDULE_SLOTS_MAX]) {
  unsigned count = 0;
  if (s->jobs[j].state != JOB_PLACED)
    return 0;
  const struct node *node = &s->nodes[s->jobs[j].node];
  for (unsigned i = 0; i < node->total; i++)
    if (node->jobs[i] == j)
      slots[count++] = (uint16_t)i;
  return count;
}

void schedule_reason(const struct schedule *s, uint32_t j, struct buf *out) {
  const struct job *job = &s->jobs[j];
  const struct group *group = &s->groups[s->lines[job->line].group];
  size_t ahead = schedule_position(s, j);
  unsigned first = first_size(s);
  if (job->state == JOB_PLACED)
    buf_puts(out, "it has its slots");
  else if (job->state == JOB_HELD)
    buf_puts(out, "it is held");
  else if (group->paused)
    buf_puts(out, "its sweep is paused");
  else if (!s->largest_up)
    buf_puts(out, "no node takes jobs now");
  else if (job->slots > s->largest_up)
    buf_printf(out, "it wants %u slots, and the largest node that takes jobs has %u", job->slots, s->largest_up);
  else if (!group_may(group))
    buf_printf(out, "its sweep runs %u trials at once, and %u are allowed", group->running, group->max_parallel);
  else if (first && first_job(s, first) != j)
    buf_printf(out, "%zu %s before it", ahead, ahead == 1 ? "job stands" : "jobs stand");
  else if (s->buckets[job->slots].kept != NONE)
    buf_printf(out, "it is next: a node is kept free until %u of its slots are", job->slots);
  else
    buf_puts(out, "it is next: all slots are in use");
}
