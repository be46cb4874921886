-- Metric points: see sql/migrations/0003_metrics.sql and storage/metrics/metric_store.h.

-- name: metric_tail_add (uuid[], int4[], int4[], bytea[], jsonb[], int8) -> (int8, int4, int2)
-- Run, attempt (0: the current one, -1: the current one of a run without executor), points, batch, null or an object with the keys of the
-- whole write; how many keys a run may have. For each in its order: its id, its attempt, and 0 stored, 1 no such run, 2 deleted, 3 another
-- attempt has taken over, 4 it has an executor, 6 it would have more keys.
with given as (
  select t.place, t.run, t.points, t.data, nextval('metric_tail_id') as id,
    case when t.attempt <= 0 then r.attempt else t.attempt end as attempt,
    case when r.id is null then 1 when r.deleted_at is not null then 2 when t.attempt > 0 and t.attempt <> r.attempt then 3
      when t.attempt < 0 and r.executor is not null then 4
      when run_metrics_exceed(r.metrics, t.keys, $6) then 6 else 0 end as status
  from unnest($1, $2, $3, $4, $5) with ordinality t (run, attempt, points, data, keys, place) left join run r on r.id = t.run),
added as (
  insert into metric_tail (run, id, attempt, points, data) select run, id, attempt, points, data from given where status = 0)
select id, coalesce(attempt, 0), status::int2 from given order by place;

-- name: metric_tail_read (uuid[]) -> (uuid, int8, int4, int4, bool, bytea) repeatable
-- Run, id, attempt, points, whether it is a write, batch.
select run, id, attempt, points, fresh, data from metric_tail where run = any($1) order by run, id;

-- name: metric_tail_take (uuid, int8[]) -> ()
select from metric_tail_take($1, $2);

-- name: metric_tail_alone (uuid[]) -> (uuid) repeatable
-- Those that have one row and no chunk: as good as sealed.
select t.run from unnest($1) t (run)
where (select count(*) from (select from metric_tail x where x.run = t.run limit 2) x) = 1
  and not exists (select from metric_chunk c where c.run = t.run);

-- name: metric_any (uuid[]) -> (bool) repeatable
-- Of each in its order: has it any points?
select exists (select from metric_tail x where x.run = t.run) or exists (select from metric_chunk c where c.run = t.run)
from unnest($1) with ordinality t (run, place) order by place;

-- name: metric_tail_settle (uuid, int4, int4, bytea) -> ()
-- Attempt, points, batch: what is too short for chunks, put together.
insert into metric_tail (run, id, attempt, points, fresh, data) values ($1, nextval('metric_tail_id'), $2, $3, false, $4);

-- name: metric_tail_put (uuid, int4[], int4[], bytea[]) -> ()
-- Attempts, points, batches: to be sealed.
insert into metric_tail (run, id, attempt, points, fresh, data)
select $1, nextval('metric_tail_id'), t.attempt, t.points, true, t.data from unnest($2, $3, $4) t (attempt, points, data);

-- name: metric_run_reset (uuid) -> () repeatable
-- Its last metrics are no longer what is stored.
with r as (update run set metrics = '{}' where id = $1 returning id)
insert into run_unindexed (run) select id from r on conflict do nothing;

-- name: metric_fresh () -> (uuid, int8, int8) repeatable
-- Runs with writes that may not be sealed, nor in run.metrics: rows, points.
select run, count(*), sum(points)::int8 from metric_tail where id > (select id from metric_mark) and fresh group by run;

-- name: metric_mark_move (int8) -> () repeatable
-- All rows of the tail up to this id are at rest.
update metric_mark set id = $1 where id < $1;

-- name: metric_key_intern (text[]) -> (text, int4)
-- Distinct keys, sorted.
with made as (insert into metric_key (name) select unnest($1) on conflict (name) do nothing returning name, id)
select name, id from made union all select name, id from metric_key where name = any($1);

-- name: metric_stored (uuid[])
--   -> (uuid, text, int4, int8, int4, int4, int4, int8, int8, int8, int8, int8, int8, int8, int8, float8, float8, float8,
--       float8, bytea, bool) repeatable
-- All chunks of runs without cells and points: run, key, its id, id, attempt, points, NaNs, step and time of the first, of the last, lowest
-- and highest time, steps of least and greatest, values: first, last, least, greatest. And what is not sealed, in no order: run, id, attempt,
-- points, batch, whether it is a write. In one statement, so that what goes from one to the other meanwhile is in one of them.
select c.run, k.name, c.key, c.id, c.attempt, c.points, c.nans, c.first_step, c.first_time, c.last_step, c.last_time, c.low_time,
  c.high_time, c.min_step, c.max_step, c.first, c.last, c.min, c.max, null::bytea, null::bool
from metric_chunk c join metric_key k on k.id = c.key
where c.run = any($1)
union all
select run, null, null, id, attempt, points, null, null, null, null, null, null, null, null, null, null, null, null, null, data, fresh
from metric_tail where run = any($1);

-- name: metric_stored_of (uuid[], text[], int2)
--   -> (uuid, text, int4, int8, int4, int4, int4, int8, int8, int8, int8, int8, int8, int8, int8, float8, float8, float8,
--       float8, bytea, bool) repeatable
-- The same, the chunks of some keys alone, and with the coarse cells: 1 by step, 2 by time, 0 none.
select c.run, k.name, c.key, c.id, c.attempt, c.points, c.nans, c.first_step, c.first_time, c.last_step, c.last_time, c.low_time,
  c.high_time, c.min_step, c.max_step, c.first, c.last, c.min, c.max,
  case $3 when 1 then c.step_coarse when 2 then c.time_coarse end, null::bool
from metric_key k join metric_chunk c on c.key = k.id and c.run = any($1)
where k.name = any($2)
union all
select run, null, null, id, attempt, points, null, null, null, null, null, null, null, null, null, null, null, null, null, data, fresh
from metric_tail where run = any($1);

-- name: metric_chunks_near (uuid, text[], int8[])
--   -> (uuid, text, int4, int8, int4, int4, int4, int8, int8, int8, int8, int8, int8, int8, int8, float8, float8, float8,
--       float8) repeatable
-- The chunks of one run: of each key those that end at this step or later, and the one before them.
select c.run, k.name, c.key, c.id, c.attempt, c.points, c.nans, c.first_step, c.first_time, c.last_step, c.last_time, c.low_time,
  c.high_time, c.min_step, c.max_step, c.first, c.last, c.min, c.max
from unnest($2, $3) t (name, low) join metric_key k on k.name = t.name
cross join lateral (
  (select * from metric_chunk where run = $1 and key = k.id and last_step >= t.low)
  union all
  (select * from metric_chunk where run = $1 and key = k.id and last_step < t.low order by last_step desc limit 1)) c;

-- name: metric_pieces (uuid[], int4[], int8[], int2[]) -> (int8, int2, bytea) repeatable
-- Run, key, chunk, and which piece (given back beside its chunk): 0 the points, 1 coarse cells by step, 2 by time, 3 fine cells by step,
-- 4 by time. What is gone meanwhile is missing.
select c.id, t.what,
  case t.what when 0 then c.data when 1 then c.step_coarse when 2 then c.time_coarse when 3 then c.step_fine else c.time_fine end
from unnest($1, $2, $3, $4) t (run, key, id, what)
join metric_chunk c on c.run = t.run and c.key = t.key and c.id = t.id;

-- name: metric_chunk_take (uuid, int4[], int8[]) -> ()
select from metric_chunk_take($1, $2, $3);

-- name: metric_chunk_add (uuid, int4[], int4[], int4[], int4[], int8[], int8[], int8[], int8[], int8[], int8[], int8[], int8[],
--   float8[], float8[], float8[], float8[], bytea[], bytea[], bytea[], bytea[], bytea[]) -> ()
-- Run; key, attempt, points, NaNs, step and time of the first, of the last, lowest and highest time, steps of least and greatest, values:
-- first, last, least, greatest; cells: coarse by step, by time, fine by step, by time; points.
insert into metric_chunk (run, key, attempt, points, nans, first_step, first_time, last_step, last_time, low_time, high_time, min_step,
  max_step, first, last, min, max, step_coarse, time_coarse, step_fine, time_fine, data)
select $1, * from unnest($2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22);

-- name: metric_run_write (uuid[], jsonb[], bool[]) -> () repeatable
-- The packed last metrics of runs, and whether these are all; else only the keys given are replaced. Rows are locked in one order, so that writers cannot block each other.
-- What is there already is not written again, nor indexed: after its start a service reads anew what it may have missed, and mostly has not.
with locked as (select id from run where id = any($1) order by id for no key update),
written as (
  update run r set metrics = case when t.whole then t.metrics else r.metrics || t.metrics end
  from unnest($1, $2, $3) t (id, metrics, whole), locked
  where r.id = t.id and locked.id = t.id and case when t.whole then t.metrics else r.metrics || t.metrics end <> r.metrics
  returning r.id)
insert into run_unindexed (run) select id from written on conflict do nothing;

-- name: metric_purge (uuid[]) -> ()
-- All points of runs that are removed for good.
with chunks as (delete from metric_chunk where run = any($1))
delete from metric_tail where run = any($1);

-- name: metric_fsck (uuid, int4, int8, int4)
--   -> (uuid, text, int4, int8, int4, int4, int4, int8, int8, int8, int8, int8, int8, int8, int8, float8, float8, float8, float8,
--       bytea, bytea, bytea, bytea, bytea) repeatable
-- The $4 chunks after (run, key, id), as metric_stored, with their cells and points.
select c.run, coalesce(k.name, ''), c.key, c.id, c.attempt, c.points, c.nans, c.first_step, c.first_time, c.last_step, c.last_time,
  c.low_time, c.high_time, c.min_step, c.max_step, c.first, c.last, c.min, c.max, c.step_coarse, c.time_coarse, c.step_fine, c.time_fine,
  c.data
from metric_chunk c left join metric_key k on k.id = c.key
where (c.run, c.key, c.id) > ($1, $2, $3)
order by c.run, c.key, c.id
limit $4;

-- name: metric_fsck_tail (uuid, int8, int4) -> (uuid, int8, int4, int4, bool, bytea) repeatable
-- The $3 rows after (run, id), as metric_tail_read.
select run, id, attempt, points, fresh, data from metric_tail where (run, id) > ($1, $2) order by run, id limit $3;
