-- The queue as people have changed it, and nodes: see sql/migrations/0008_place.sql.

-- name: queue_set (uuid, bool, int8, int8, int8, text, text, text, text) -> (bool) repeatable
-- Run, held, its own priority and time in the queue (null: none); now, who, and for the event its kind, from, to. No row: there is no such
-- run yet.
with done as (update run set held = $2, queue_priority = $3, queue_since = $4 where id = $1 returning id),
told as (
  insert into event (time, kind, actor, subject, run, from_state, to_state)
  select $5, $7, $6, replace(id::text, '-', ''), id, $8, $9 from done)
select true from done;

-- name: node_set (text, bool, text, int8, text) -> () repeatable
-- Name, whether it is drained, why, now, who.
with done as (
  insert into node (name, drained, reason, changed, actor) values ($1, $2, $3, $4, $5)
  on conflict (name) do update set drained = excluded.drained, reason = excluded.reason, changed = excluded.changed, actor = excluded.actor)
insert into event (time, kind, actor, subject, reason) values ($4, case when $2 then 'node.drained' else 'node.resumed' end, $5, $1, $3);

-- name: node_get (text) -> (bool, text) repeatable
-- Whether it is drained, why.
select drained, reason from node where name = $1;
