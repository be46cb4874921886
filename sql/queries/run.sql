-- Runs. A run as it is read has the columns of run_view, in its order.

-- name: run_create (uuid, int8, int8, int8, text, text, jsonb, jsonb) -> (text, bool) repeatable
-- Id, experiment, start time, now, name, user, tags, params. The run's artifact URI and whether the experiment is deleted (then nothing was
-- made); no row: there is no such experiment.
with e as (select id, artifact_location, deleted_at is not null as deleted from experiment where id = $2 for share),
made as (
  insert into run (id, experiment_id, start_time, created, state, name, user_id, tags, params)
  select $1, e.id, $3, $4, 2, $5, $6, $7, $8 from e where not e.deleted
  on conflict (id) do nothing returning 1)
select uri_below(artifact_location, replace($1::text, '-', '') || '/artifacts'), deleted from e;

-- name: run_create_many (uuid[], int8[], int8[], int8[], text[], text[], jsonb[], jsonb[]) -> (text, bool) repeatable
-- The same for many at once; for each in its order. URI null: there is no such experiment.
with e as (
  select id, artifact_location, deleted_at is not null as deleted from experiment where id = any($2) order by id for share),
given as (
  select t.*, e.artifact_location, e.deleted
  from unnest($1, $2, $3, $4, $5, $6, $7, $8) with ordinality
    t (id, experiment_id, start_time, created, name, user_id, tags, params, place)
  left join e on e.id = t.experiment_id),
made as (
  insert into run (id, experiment_id, start_time, created, state, name, user_id, tags, params)
  select id, experiment_id, start_time, created, 2, name, user_id, tags, params from given
  where artifact_location is not null and not deleted
  on conflict (id) do nothing)
select uri_below(artifact_location, replace(id::text, '-', '') || '/artifacts'), deleted from given order by place;

-- name: run_get (uuid)
--   -> (uuid, int8, int8, int8, int8, int8, int8, int4, int2, int2, bool, int2, int4, int4, int4, uuid, text, text, text, text, text, text,
--       jsonb, jsonb, jsonb, jsonb, jsonb, jsonb, jsonb) repeatable
select * from run_view where id = $1;

-- name: run_get_many (uuid[])
--   -> (uuid, int8, int8, int8, int8, int8, int8, int4, int2, int2, bool, int2, int4, int4, int4, uuid, text, text, text, text, text, text,
--       jsonb, jsonb, jsonb, jsonb, jsonb, jsonb, jsonb) repeatable
select * from run_view where id = any($1);

-- name: run_attempts (uuid) -> (jsonb) repeatable
-- All attempts of a run that has several; null else. Of the current one the run itself says how it stands.
select case when r.attempt > 1 then (
  select jsonb_agg(jsonb_build_object('attempt', a.attempt,
    'state', run_state_name(case when a.attempt = r.attempt then r.state else a.state end),
    'reason', case when a.attempt = r.attempt then r.state_reason else a.reason end,
    'exit_code', case when a.attempt = r.attempt then r.exit_code else a.exit_code end,
    'signal', case when a.attempt = r.attempt then r.signal else a.signal end,
    'node', coalesce(a.node, r.node, r.executor), 'started', a.started,
    'ended', case when a.attempt = r.attempt then r.end_time else a.ended end) order by a.attempt)
  from run_attempt a where a.run = r.id and a.attempt <= r.attempt) end
from run r where r.id = $1;

-- name: run_goals (uuid[]) -> (uuid, text, text) repeatable
-- Of runs that are trials: the metric of their sweep, and whether it is to be minimized or maximized.
select r.id, s.metric_name, s.metric_goal from run r join sweep s on s.id = r.sweep_id where r.id = any($1) and s.metric_name is not null;

-- name: attempt_is_over (uuid, int4) -> (bool) repeatable
-- Run, attempt. Whether how it ended is stored.
select attempt > $2 or (attempt = $2 and dead) from run where id = $1;

-- name: run_sweep_file (uuid) -> (text) repeatable
-- The sweep file of a run that is a trial, in its normal form.
select s.spec from run r join sweep s on s.id = r.sweep_id where r.id = $1 and not s.single;

-- name: run_search_scope (int8[], uuid) -> (int8) repeatable
-- Experiments, a sweep or null. No row: all are there. Else the first experiment that is not; null: it is the sweep.
select x.id from unnest($1) with ordinality x (id, place) where not exists (select from experiment e where e.id = x.id)
union all
select null where $2 is not null and not exists (select from sweep s where s.id = $2)
limit 1;

-- name: run_search (text, text[], int8[], float8[], uuid[])
--   -> (uuid, int8, int8, int8, int8, int8, int8, int4, int2, int2, bool, int2, int4, int4, int4, uuid, text, text, text, text, text, text,
--       jsonb, jsonb, jsonb, jsonb, jsonb, jsonb, jsonb, text[]) repeatable
select r.*, f.page_key
from find_rows($1, $2, $3, $4, $5) with ordinality f (id, n, v, page_key, place)
cross join lateral (select * from run_view x where x.id = f.id offset 0) r
order by f.place;

-- name: run_page (text, text[], int8[], float8[], uuid[], int8)
--   -> (uuid, int8, int8, int8, int8, int8, int8, int4, int2, int2, bool, int2, int4, int4, int4, uuid, text, text, text, text, text, text,
--       jsonb, jsonb, jsonb, jsonb, jsonb, jsonb, jsonb, text[], bool, uuid, int8, int4) repeatable
-- The same for an answer in one piece, and like the other *_page statements: the last argument is how many bytes the rows may weigh
-- together (weight_of()). The columns behind page_key are whether those up to this one do, and what find_rows() gave. Of further rows what
-- makes them large is null. A running sum, as its rows need not be kept.
select p.id, p.experiment_id, p.start_time, p.created, p.end_time, p.deleted_at, p.heartbeat, p.attempt, p.state, p.kind, p.has_links, p.slots,
  p.exit_code, p.signal, p.trial, p.sweep_id, p.name, p.user_id, p.artifact_uri, p.executor, p.node, p.state_reason,
  case when p.fits then p.command end, case when p.fits then p.params end, case when p.fits then p.tags end, case when p.fits then p.metrics end,
  case when p.fits then p.dataset_inputs end, case when p.fits then p.model_inputs end, case when p.fits then p.model_outputs end,
  p.page_key, p.fits, p.id, p.n, p.v
from (
  select r.*, f.page_key, f.n, f.v, f.place, sum(weight_of(r.params) + weight_of(r.tags) + weight_of(r.metrics) +
    case when r.command is null then 0 else weight_of(r.command) end +
    case when r.has_links then weight_of(r.dataset_inputs) + weight_of(r.model_inputs) + weight_of(r.model_outputs) else 0 end)
    over (order by f.place rows unbounded preceding) <= $6 as fits
  from find_rows($1, $2, $3, $4, $5) with ordinality f (id, n, v, page_key, place)
  cross join lateral (select * from run_view x where x.id = f.id offset 0) r) p
order by p.place;

-- name: run_write (uuid, jsonb, jsonb, int4) -> ()
-- Params and tags, all or nothing; what the caller may write. Writers of one run take turns. What forbids it is raised, so that whatever else
-- is in the transaction does not happen either: WN404 there is no such run, WN410 it is deleted, WN409 a param has another value; and as
-- run_allow() and run_words_fit().
with written as (
  update run r set
    params = case when $2 = '{}' then r.params else run_words_fit($2 || r.params, r.params, 'WN431') end,
    name = coalesce(nullif($3 ->> 'mlflow.runName', ''), r.name),
    tags = case when $3 = '{}' then r.tags else run_words_fit(r.tags || ($3 - 'mlflow.runName'), r.tags, 'WN432') end
  where r.id = $1 and run_takes(r.deleted_at, r.executor, r.attempt, $4, r.params || '{}', $2) -- unpacked once, not by each who looks
  returning 1)
select from run_is_there((select count(*) > 0 from written));

-- name: run_write_many (uuid, jsonb[], jsonb[], int4[], int4[], int4[], bytea[], jsonb[], int8) -> (int8, int4, int2, text)
-- The same for many at once to one run, each as if it were alone, in their order: what forbids it is told, not raised. A tag that is null is
-- removed. And the attempt, how many, and a batch of points (0: none) that are stored with the rest or not at all, with their keys and how
-- many a run may have, as metric_tail_add takes them: of them tell the first three columns, as those of metric_tail_add do (5: not stored, as
-- nothing is). The last is what forbids the write.
select * from run_write_many($1, $2, $3, $4, $5, $6, $7, $8, $9);

-- name: run_conflicts (uuid, jsonb) -> (text, text, text) repeatable
-- The params that cannot be logged: key, stored value, given value.
select p.key, r.params ->> p.key, p.value
from run r cross join lateral jsonb_each_text($2) p
where r.id = $1 and r.params ? p.key and not param_same(r.params ->> p.key, p.value)
order by p.key;

-- name: run_lock (uuid) -> () repeatable
-- So that what is read of the run next is what the last writer left.
select from run where id = $1 for no key update;

-- name: run_update (uuid, int2, int8, text, int8, text, int4) -> (bool)
-- State, end time, name: null leaves it. Then now and who asks, for the event; what the caller may write. Whether the run is active (else nothing was changed); no row:
-- there is none. What an executor runs ends when its process does, whatever a client says. A state is written after run_lock().
--
-- The end that nobody has a name for is on the row, so a run that ends once has no event. It gets one when the row is about to forget it.
with r as (select id, created, end_time, name, deleted_at is null as active, state as old_state, executor is not null as ours from run
  where id = $1 and run_allow(executor, attempt, $7) for no key update),
done as (
  update run x set
    state = case when $2::int2 is null or r.ours then x.state else $2 end,
    end_time = case when r.ours then x.end_time else coalesce($3, x.end_time) end,
    name = coalesce($4, x.name)
  from r where x.id = r.id and r.active returning 1),
told as (
  insert into event (time, kind, actor, subject, run, from_state, to_state)
  select t.time, 'run.state', t.actor, replace(r.id::text, '-', ''), r.id, t.was, t.becomes
  from r cross join lateral (values
    (1, coalesce(r.end_time, r.created), 'anonymous', 'RUNNING', run_state_name(r.old_state),
      r.old_state >= 4 and run_state_name(r.old_state) is distinct from (
        select e.to_state from event e where e.run = r.id and e.kind = 'run.state' order by e.id desc limit 1)),
    (2, case when $2 >= 4 then coalesce($3, $5) else $5 end, $6, run_state_name(r.old_state), run_state_name($2),
      $2 < 4 or r.old_state >= 4 or $3 is null or r.end_time is not null or $6 <> 'anonymous')) t (place, time, actor, was, becomes, kept)
  where r.active and not r.ours and $2 <> r.old_state and t.kept
  order by t.place),
renamed as (
  insert into event (time, kind, actor, subject, run, from_state, to_state)
  select $5, 'run.renamed', $6, replace(id::text, '-', ''), id, name, $4 from r where active and name <> $4)
select active from r;

-- name: run_delete (uuid, int8, text, int4, bool) -> (bool, bool) repeatable
-- Now, who, what the caller may write, whether the service knows it as damaged: then a launched run is given up, since nobody else will end
-- it. Whether it was deleted before, and whether it is given up; no row: there is none.
with r as (select id, deleted_at is not null as deleted from run where id = $1 and run_allow(executor, attempt, $4) for no key update),
given_up as (update sweep s set deleted_at = $2 from r where s.id = r.id and s.single and s.deleted_at is null and s.state < 3 and $5 returning s.id),
ended as (
  update run x set deleted_at = coalesce(x.deleted_at, $2), state = 7, end_time = $2, state_reason = 'deleted while it was damaged'
  from given_up g where x.id = g.id and x.state < 4 returning 1),
done as (update run x set deleted_at = $2 from r where x.id = r.id and not r.deleted and not exists (select from ended) returning x.id),
told as (insert into event (time, kind, actor, subject, run) select $2, 'run.deleted', $3, replace(id::text, '-', ''), id from r where not deleted)
select deleted, exists (select from given_up) or $5 and exists (select from sweep s where s.id = r.id and s.single and s.deleted_at is not null) from r;

-- name: run_restore (uuid, int8, text, int4) -> (bool) repeatable
with r as (select id, deleted_at is not null as deleted from run where id = $1 and run_allow(executor, attempt, $4) for no key update),
done as (update run x set deleted_at = null from r where x.id = r.id and r.deleted returning x.id),
told as (insert into event (time, kind, actor, subject, run) select $2, 'run.restored', $3, replace(id::text, '-', ''), id from done)
select deleted from r;

-- name: run_delete_tag (uuid, text, int4) -> (bool, bool)
-- Whether the run is active, whether the tag was there.
with r as (select id, deleted_at is null as active, case when $2 = 'mlflow.runName' then name <> '' else tags ? $2 end as had
  from run where id = $1 and run_allow(executor, attempt, $3) for update),
done as (
  update run x set tags = x.tags - $2, name = case when $2 = 'mlflow.runName' then '' else x.name end
  from r where x.id = r.id and r.active and r.had returning 1)
select active, had from r;

-- name: run_is_active (uuid) -> (bool) repeatable
select deleted_at is null from run where id = $1;

-- name: run_is_writable (uuid, int4) -> (bool) repeatable
-- The same, refusing a caller who may not write it.
select deleted_at is null from run where id = $1 and run_allow(executor, attempt, $2);

-- name: run_attempt_ended (uuid, int4) -> (int8) repeatable
-- When that attempt of a run ended; null: it has not, or no executor makes attempts of it. No row: there is no such run.
select case when r.executor is null then null when r.attempt = $2 then r.end_time
  else (select a.ended from run_attempt a where a.run = r.id and a.attempt = $2) end
from run r where r.id = $1;

-- name: run_may_write (uuid, int4, uuid[], text, int4, text, int2) -> (int8, int8, bool) repeatable
-- Whose token: run and attempt. What it names: runs and logged models, and a version of the registry by number (null: by alias), and those of its
-- model that are in a stage. How many of these there are, how many belong to the run or to one that descends from it, whether the attempt is over.
with named (run) as (
  select id from run where id = any($3)
  union all
  select case when source_run ~ '^[0-9a-f]{32}$' then source_run::uuid end from logged_model where id = any($3)
  union all
  select case when v.run_id ~ '^[0-9a-f]{32}$' then v.run_id::uuid end
  from registered_model m join model_version v on v.model = m.id and v.deleted_at is null
  where m.name = $4 and (v.version = coalesce($5, (select a.version from model_alias a where a.model = m.id and a.alias = $6)) or v.stage = $7))
select count(*), count(*) filter (where run_descends(run, $1)),
  attempt_is_over($1, $2) from named;

-- name: run_may_read (uuid, uuid[], int8[], text) -> (int8, int8) repeatable
-- Whose token; what it names: runs, logged models and sweeps, experiments, an experiment by its name. How many of these there are, how many of
-- them are of that run's experiment, or descend from it.
with named (experiment, run) as (
  select experiment_id, id from run where id = any($2)
  union all select experiment_id, null from sweep where id = any($2)
  union all select experiment_id, case when source_run ~ '^[0-9a-f]{32}$' then source_run::uuid end from logged_model where id = any($2)
  union all select id, null from experiment where id = any($3) or name = $4)
select count(*), count(*) filter (where experiment = (select experiment_id from run where id = $1) or run_descends(run, $1)) from named;

-- name: run_log_model (uuid, jsonb, int4) -> (bool)
-- Appends to the list of models in the tag mlflow.log-model.history. Whether the run is active.
with r as (select id, deleted_at is null as active from run where id = $1 and run_allow(executor, attempt, $3) for update),
done as (
  update run x set tags = x.tags || jsonb_build_object('mlflow.log-model.history',
    (coalesce(nullif(x.tags ->> 'mlflow.log-model.history', ''), '[]')::jsonb || $2)::text)
  from r where x.id = r.id and r.active returning 1)
select active from r;

-- name: run_add_dataset (uuid, text, text, text, text, text, text, jsonb) -> (int8)
-- Name, digest, source type, source, schema, profile, tags of the input. Known datasets and inputs stay as they are. No row: no active run.
with r as (select id, experiment_id from run where id = $1 and deleted_at is null),
made as (
  insert into dataset (experiment_id, name, digest, source_type, source, schema, profile)
  select experiment_id, $2, $3, $4, $5, $6, $7 from r
  on conflict (experiment_id, name, digest) do update set name = excluded.name returning id),
linked as (insert into run_dataset (run, dataset, tags) select r.id, made.id, $8 from r, made on conflict do nothing returning 1),
marked as (update run x set has_links = true from r where x.id = r.id and not x.has_links returning 1)
select id from made;

-- name: run_add_model (uuid, uuid, bool, int8) -> (int8)
-- Model, made or read, step. No row: no active run.
with r as (select id, experiment_id from run where id = $1 and deleted_at is null),
linked as (insert into run_model (run, model, made, step) select id, $2, $3, $4 from r on conflict do nothing returning 1),
marked as (update run x set has_links = true from r where x.id = r.id and not x.has_links returning 1)
select experiment_id from r;

-- name: run_index_metrics (int4) -> (int8)
-- Moves the last metrics of at most so many runs into run_metric. How many runs it were.
select run_index_metrics($1);

-- name: run_clean_words () -> (int8)
-- Moves what is new in run_words from its pending list into the index.
select gin_clean_pending_list('run_words'::regclass);

-- name: event_add (int8, text, text, text, uuid, text, text, text) -> ()
-- Time, kind, actor, subject, run, from, to, reason.
insert into event (time, kind, actor, subject, run, from_state, to_state, reason) values ($1, $2, $3, $4, $5, $6, $7, $8);

-- name: run_metrics_full (uuid, int8, text) -> ()
-- Run, time, reason: that it has as many metrics as it may, once.
insert into event (time, kind, actor, subject, run, reason)
select $2, 'run.full', 'service', replace(r.id::text, '-', ''), r.id, $3 from run r
where r.id = $1 and not exists (select from event e where e.run = $1 and e.kind = 'run.full');

-- name: deed_add (int8, text, text, text, uuid, text, text, text) -> () repeatable
-- The same, once; of a run that is gone meanwhile there is nothing to tell.
insert into event (time, kind, actor, subject, run, from_state, to_state, reason)
select $1, $2, $3, $4, $5, $6, $7, $8
where exists (select from run where id = $5) and not exists (
  select from event where run = $5 and time = $1 and kind = $2 and actor = $3 and to_state is not distinct from $7);

-- name: runs_known (uuid[]) -> (int8) repeatable
-- How many of these there are, deleted ones too.
select count(*) from run where id = any($1);

-- name: runs_missing (uuid[]) -> (uuid) repeatable
-- Which of these there are not, in their order; deleted ones are there.
select id from unnest($1) with ordinality wanted (id, n) where not exists (select from run where run.id = wanted.id) group by id order by min(n);

-- name: run_events (uuid, int8, int8) -> (int8, int8, text, text, text, text, text, text) repeatable
-- After an id, at most so many. What was stored as starting, and next as what came after RUNNING, ran in between: when its first attempt
-- began is on its row.
select id, time, kind, subject, actor, case when from_state = 'STARTING' and to_state <> 'RUNNING' and exists (
    select from run r where r.id = $1 and r.attempt > 0 and r.start_time between 1 and event.time and not exists (
      select from run_attempt a where a.run = r.id and a.attempt > 1 and a.started <= event.time)) then 'RUNNING' else from_state end,
  to_state, reason
from event where run = $1 and id > $2 order by id limit $3;

-- name: run_attempt_events (uuid, int8) -> (int4, text, int8, text, text, text) repeatable
-- Later than the events up to $2 (0: all), by time. Attempt, what of it, when, from, to, reason; not the end of the current one, unless another was
-- asked for. A first attempt that did not wait started when its run was made; what else is not on a row is an event.
select e.attempt, e.what, e.time, e.from_state, e.to_state, e.reason from run r cross join lateral (
  select 1, 1, 'starting', r.created, 'QUEUED', 'STARTING', null where r.attempt > 0 and r.executor is not null and not exists (
    select from event where run = r.id and kind = 'run.state' and to_state = 'STARTING')
  union all
  select 1, 2, 'began', nullif(r.start_time, 0), 'STARTING', 'RUNNING', null where r.attempt > 0 and r.executor is not null and not exists (
    select from run_attempt a where a.run = r.id and a.attempt = 1 and a.ended < r.start_time) and not exists (
    select from event where run = r.id and kind = 'run.state' and to_state = 'STOPPING' and time < r.start_time)
  union all
  select a.attempt, 1, 'starting', a.started, coalesce((
      select run_state_name(b.state) from run_attempt b where b.run = r.id and b.attempt = a.attempt - 1), 'QUEUED'),
    'STARTING', format('attempt %s', a.attempt)
    from run_attempt a where a.run = r.id and a.attempt between 2 and r.attempt
  union all
  select a.attempt, 3, 'ended', a.ended, 'RUNNING', run_state_name(a.state), a.reason from run_attempt a where a.run = r.id and (
    a.attempt < r.attempt or exists (select from event where run = r.id and kind = 'run.state' and to_state = 'QUEUED' and time >= a.ended))
    and run_state_name(a.state) is distinct from (
      select to_state from event where run = r.id and kind = 'run.state' and time <= a.ended order by id desc limit 1)
) e (attempt, place, what, time, from_state, to_state, reason)
where r.id = $1 and e.time is not null and ($2 = 0 or e.time > (select max(time) from event where run = $1 and id <= $2)) order by e.time, e.attempt, e.place;

-- name: run_end_told (uuid) -> (bool) repeatable
-- Whether how the run stands now is among its events: those of its last attempt, for the one before may have come to the same.
select run_state_name(r.state) is not distinct from (
  select e.to_state from event e where e.run = r.id and e.kind = 'run.state' and (
    r.attempt < 2 or e.time >= coalesce((select a.started from run_attempt a where a.run = r.id and a.attempt = r.attempt), 0))
  order by e.id desc limit 1)
from run r where r.id = $1;
