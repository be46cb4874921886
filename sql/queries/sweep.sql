-- Sweeps and their trials: see sql/migrations/0005_sweeps.sql and sweeper/sweeps.h.

-- name: sweep_experiment_by_id (int8) -> (int8, bool) repeatable
select id, deleted_at is not null from experiment where id = $1;

-- name: engine_enter () -> (bool) repeatable
-- What a service begins under an epoch ends before the next epoch begins (active_begin). A statement of its own, for engine_epoch must see
-- what was there when this one had the lock.
select true from (select pg_advisory_xact_lock_shared(7310579611042530307)) as entered;

-- name: engine_epoch (int8) -> (bool) repeatable
-- Refuses (by a division) to go on under an epoch that is over.
select 1 / (case when $1 = (select max(epoch) from service_epoch) then 1 else 0 end) = 1;

-- name: sweep_create (uuid, int8, int8, int8, text, text, text, text, jsonb, bool, bytea, text) -> () repeatable
-- Id, experiment, now, seed, name, directory, source, spec, warnings, whether it is a single run's, results it starts from, who submitted it.
-- And its parent run, if it is not a single run's.
with made as (
  insert into sweep (id, experiment_id, created, version, seed, name, directory, source, spec, warnings, single, prior)
  values ($1, $2, $3, 0, $4, $5, $6, $7, $8, $9, $10, $11) on conflict (id) do nothing returning 1)
insert into run (id, experiment_id, start_time, created, state, kind, name, user_id)
select $1, $2, $3, $3, 2, 1, $5, $12 from made where not $10 on conflict (id) do nothing;

-- name: single_describe (uuid, jsonb, jsonb, jsonb, text) -> () repeatable
-- What a launched run is said to be, with its row: command, params, tags, who launched it.
update run set command = $2, params = $3, tags = $4, user_id = $5 where id = $1;

-- name: sweep_update (uuid, int8, int2, int2, bool, int8, int8, int8, jsonb) -> () repeatable
-- Id, version, state, why, exhausted, elapsed, slot time, end, summary (null before the end).
with done as (
  update sweep set version = $2, state = $3, why = $4, exhausted = $5, elapsed_ms = $6, slot_ms = $7, ended = $8, summary = $9 - 'spec'
  where id = $1 and version < $2 returning 1)
update run set end_time = $8, state = case $3 when 3 then 4 when 4 then 6 when 5 then 5 else 2 end from done where id = $1 and kind = 1;

-- name: sweep_edit (uuid, jsonb, int8, text, text, text) -> (bool) repeatable
-- Adds to the edits; now, who, and for the event, which is told once, what it was, what it is. No row: there is no such sweep, or it is over.
with done as (update sweep set edits = edits || $2 where id = $1 and state < 3 and deleted_at is null and not single returning id),
told as (
  insert into event (time, kind, actor, subject, run, from_state, to_state)
  select $3, 'sweep.edited', $4, replace(id::text, '-', ''), id, $5, $6 from done
  where not exists (select from event where run = $1 and time = $3 and kind = 'sweep.edited' and actor = $4 and to_state = $6))
select true from done;

-- name: sweep_warn (uuid, jsonb) -> () repeatable
-- The warnings of a sweep.
update sweep set warnings = $2 where id = $1;

-- name: experiments_in_trash (int8[]) -> (int8) repeatable
select id from experiment where id = any($1) and deleted_at is not null;

-- name: sweeps_into_trash (uuid[]) -> () repeatable
-- Runs of these sweeps that came into an experiment when it had been deleted are deleted as the others were.
update run r set deleted_at = e.deleted_at from experiment e
where (r.sweep_id = any($1) or r.id = any($1)) and r.deleted_at is null and e.id = r.experiment_id and e.deleted_at is not null;

-- name: sweep_delete (uuid, int8, bool, text) -> (bool) repeatable
-- With its runs, into the trash; over or not, if $3: then what was not over is killed, since nobody else will end it. No row: there is no such
-- sweep that is not deleted. Who, for the event.
with s as (update sweep set deleted_at = $2 where id = $1 and deleted_at is null and (state >= 3 or $3) and not single returning id),
runs as (update run set deleted_at = $2, state = case when $3 and run.state < 4 then 7 else run.state end,
    state_reason = case when $3 and run.state < 4 then 'its damaged sweep was deleted' else state_reason end,
    end_time = case when $3 and run.state < 4 then $2 else end_time end
  from s where (run.sweep_id = s.id or run.id = s.id) and run.deleted_at is null returning 1),
told as (insert into event (time, kind, actor, subject, run) select $2, 'sweep.deleted', $4, replace(id::text, '-', ''), id from s)
select true from s;

-- name: sweep_live (uuid) -> (uuid, int8, int8, int8, int8, int8, int8, int2, int2, bool, text, text, text, jsonb, jsonb, bool, bytea) repeatable
-- Those that are not over, oldest first; or this one, over or not.
select id, experiment_id, created, version, elapsed_ms, slot_ms, seed, state, why, exhausted, name, directory, spec, edits, warnings, single,
  prior
from sweep where deleted_at is null and case when $1::uuid is null then state < 3 else id = $1 end order by created, id;

-- name: sweep_get (uuid) -> (int2, jsonb, text, text) repeatable
-- State, summary, normal form (null: it cannot be read), the order of its parameters.
select state, summary - 'spec', case when params_order is not null then spec end, params_order from sweep where id = $1 and deleted_at is null and not single;

-- name: sweep_course (uuid) -> (int8, text, int2, int8, text, text) repeatable
-- When it was made, by whom ('': it is not known), state, its end when it is over, the reason; the state that its events tell last.
select s.created, coalesce(r.user_id, ''), s.state, case when s.state >= 3 then s.ended end, s.summary ->> 'state_reason', (
    select to_state from event where event.run = s.id and kind = 'sweep.state' order by event.id desc limit 1)
from sweep s left join run r on r.id = s.id where s.id = $1 and s.deleted_at is null and not s.single;

-- name: sweep_list (int2, int8, uuid, int8) -> (uuid, int8, int2, jsonb, text, text) repeatable
-- State or null; created and id after which it goes on, or null; how many. Newest first. Of those that have a summary with the normal form
-- (null: it cannot be read) and the order of the parameters; what is large is looked at of those alone that are shown.
with page as (
  select id from sweep
  where deleted_at is null and not single and ($1::int2 is null or state = $1) and ($2::int8 is null or (created, id) < ($2, $3::uuid))
  order by created desc, id desc limit $4)
select s.id, created, state, summary - 'spec', case when summary is not null and params_order is not null then spec end,
  case when summary is not null then params_order end
from page join sweep s on s.id = page.id order by created desc, s.id desc;

-- name: sweep_source (uuid) -> (text, text, text, jsonb) repeatable
-- Name, directory, the normal form: with the snapshot and the environment of the first time; what was changed while it ran.
select name, directory, spec, edits from sweep where id = $1 and deleted_at is null and not single;

-- name: sweep_spec (uuid) -> (text, int8) repeatable
-- Its normal form, and the seed.
select spec, seed from sweep where id = $1 and deleted_at is null;

-- name: params_order (uuid) -> (text) repeatable
-- Of a sweep: the declarations as web/api/params_order.h takes them; null: its normal form cannot be read.
select params_order from sweep where id = $1 and deleted_at is null;

-- name: params_order_of_trial (uuid) -> (text) repeatable
-- The same of its sweep. No row: the run is no trial.
select s.params_order from run r join sweep s on s.id = r.sweep_id where r.id = $1;

-- name: prior_metric (uuid) -> (text) repeatable
-- The metric of a sweep.
select metric_name from sweep where id = $1 and deleted_at is null;

-- name: prior_trials (uuid) -> (jsonb, float8) repeatable
-- Point and value of those that ended well.
select point, value from run where sweep_id = $1 and state = 4 and deleted_at is null order by trial;

-- name: trials_learnable (uuid) -> (bytea, bool, float8, int8) repeatable
-- Point, whether it was stopped, value and its step, of the trials that finished with a value and of those that were stopped, in order; of
-- more than fifty thousand every second, third ...
select coords, state = 6, value, value_step from run
where sweep_id = $1 and ((state = 4 and value is not null) or state = 6) and coords is not null
  and trial % (select coalesce(max(trial), 0) / 50000 + 1 from run where sweep_id = $1) = 0
order by trial;

-- name: trials_load (uuid, int8)
--   -> (uuid, int4, int8, int2, int4, int2, int4, bool, float8, int8, float8, int8, int8, int8, int4, bytea, jsonb, text, int8, int2, int4,
--   int4, int4, bool, int8, int8, int2, float8, int8, int8, int8, int8, float8, int8) repeatable
-- Id, number, version, state, attempt, cause, retries, dead, value, its step, best, created, start, end, told, coordinates, stop, reason,
-- lease; what it was made from: by, tells, pending, tells when it was added; held, its priority and time in the queue where they are its own;
-- state, value, its step of its first end, and the reports before that, of those that were tried again; the reports it was made from; how
-- long its attempts took where there were several, until now ($2); its last report and the step of that, where they are not the value.
select id, trial, r.version, r.state, attempt, cause, retries, dead, r.value, r.value_step, best_value, created, start_time, end_time, told,
  coords, stop, state_reason, lease_ms, made_by, made_tells, made_pending, at_tells, held, queue_priority, queue_since, f.state, f.value,
  f.value_step, f.reports, made_reports, case when attempt > 1 then (
    select sum(greatest(0, coalesce(a.ended, r.end_time, case when r.state <> 0 then $2 end) - coalesce(a.started, nullif(r.start_time, 0))))
    from run_attempt a where a.run = r.id)::int8 end, last_value, last_step
from run r left join run_first_end f on f.run = r.id where sweep_id = $1 order by trial;

-- name: single_load (uuid, int8)
--   -> (uuid, int4, int8, int2, int4, int2, int4, bool, float8, int8, float8, int8, int8, int8, int4, bytea, jsonb, text, int8, int2, int4,
--   int4, int4, bool, int8, int8, int2, float8, int8, int8, int8, int8, float8, int8) repeatable
-- The same of a launched run.
select id, 0, version, state, attempt, cause, retries, dead, value, value_step, best_value, created, start_time, end_time, told, coords,
  stop, state_reason, lease_ms, made_by, made_tells, made_pending, at_tells, held, queue_priority, queue_since, null::int2, null::float8,
  null::int8, null::int8, made_reports, case when attempt > 1 then (
    select sum(greatest(0, coalesce(a.ended, run.end_time, case when run.state <> 0 then $2 end) - coalesce(a.started, nullif(run.start_time, 0))))
    from run_attempt a where a.run = run.id)::int8 end, last_value, last_step
from run where id = $1 and sweep_id is null and kind = 0;

-- name: reports_load (uuid) -> (int8, int4, int4, text, float8, int8, float8, int8) repeatable
select n, trial, attempt, key, value, step, epoch, source from report where sweep = $1 order by n;

-- name: reports_add (uuid[], int8[], int4[], int4[], text[], float8[], int8[], float8[], int8[]) -> () repeatable
-- Sweep, n, trial, attempt, key, value, step, epoch, source.
insert into report (sweep, n, trial, attempt, key, value, step, epoch, source)
select * from unnest($1, $2, $3, $4, $5, $6, $7, $8, $9) on conflict (sweep, n) do nothing;

-- name: trials_create (uuid[], int8[], uuid[], int4[], int8[], text[], text[], jsonb[], jsonb[], bytea[], int2[], int4[], int4[], int4[],
--   int8[], int8[], int2[], int4[], int2[], bool[], float8[], int8[], float8[], float8[], int8[], int8[], int8[], int4[], text[], jsonb[],
--   text[], int8[]) -> () repeatable
-- Id, experiment, sweep, number, created, name, executor, params, point, coordinates, made by, from tells, pending, added at tells, from
-- reports; version, state, attempt, cause, dead, value, its step, best, last report and its step, start, end, told, reason, stop, worker, lease. A row that is there is
-- older, or this very one: the write before did not say how it ended.
insert into run (id, experiment_id, sweep_id, trial, created, name, executor, params, point, coords, made_by, made_tells, made_pending,
  at_tells, made_reports, version, state, attempt, cause, dead, value, value_step, best_value, last_value, last_step, start_time, end_time, told,
  state_reason, stop, worker, lease_ms)
select * from unnest($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22, $23, $24, $25,
  $26, $27, $28, $29, $30, $31, $32)
on conflict (id) do update set version = excluded.version, state = excluded.state, attempt = excluded.attempt, cause = excluded.cause,
  dead = excluded.dead, value = excluded.value, value_step = excluded.value_step, best_value = excluded.best_value,
  last_value = excluded.last_value, last_step = excluded.last_step, start_time = excluded.start_time, end_time = excluded.end_time, told = excluded.told, state_reason = excluded.state_reason,
  stop = excluded.stop, worker = excluded.worker, lease_ms = excluded.lease_ms
where run.version < excluded.version;

-- name: trials_update (uuid[], int8[], int2[], int4[], int2[], bool[], float8[], int8[], float8[], float8[], int8[], int8[], int8[], int4[],
--   text[], jsonb[], text[], int8[], int4[], int2[], int4[], int4[], text[], jsonb[]) -> () repeatable
-- Id, version, state, attempt, cause, dead, value, its step, best, last report and its step, start, end, told, reason, stop, worker, lease, retries, slots, exit code,
-- signal, node, command (null leaves it). The limit, which takes nothing away, makes the planner expect few rows whatever the arrays hold: so it plans the statement once,
-- and not for each transaction, which took it an eighth of its time.
update run set version = u.version, state = u.state, attempt = u.attempt, cause = u.cause, dead = u.dead, value = u.value,
  value_step = u.value_step, best_value = u.best, last_value = u.last_value, last_step = u.last_step, start_time = u.start_time, end_time = u.end_time, told = u.told, state_reason = u.reason,
  stop = u.stop, worker = u.worker, lease_ms = u.lease, retries = u.retries, slots = u.slots, exit_code = u.exit_code, signal = u.signal,
  node = u.node, command = coalesce(u.command, run.command)
from (select * from unnest($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22, $23,
  $24) limit cardinality($1)) as u (id, version, state, attempt, cause, dead, value, value_step, best, last_value, last_step, start_time, end_time, told, reason, stop,
  worker, lease, retries, slots, exit_code, signal, node, command)
where run.id = u.id and run.version < u.version;

-- name: first_ends_put (uuid[], int2[], float8[], int8[], int8[]) -> () repeatable
-- Run, state, value, its step, reports before it. What was the first stays the first.
insert into run_first_end (run, state, value, value_step, reports) select * from unnest($1, $2, $3, $4, $5) on conflict do nothing;

-- name: attempts_put (uuid[], int4[], int2[], text[], int4[], int4[], int8[], int8[]) -> () repeatable
-- Run, attempt, state, reason, exit code, signal, start, end: of attempts that are over, when the next one begins, and of that one.
insert into run_attempt as a (run, attempt, state, reason, exit_code, signal, node, started, ended)
select u.run, u.attempt, u.state, u.reason, u.exit_code, u.signal, coalesce(r.node, r.executor), u.started, u.ended
from unnest($1, $2, $3, $4, $5, $6, $7, $8) u (run, attempt, state, reason, exit_code, signal, started, ended) join run r on r.id = u.run
on conflict (run, attempt) do update set state = excluded.state, reason = excluded.reason, exit_code = excluded.exit_code,
  signal = excluded.signal, started = coalesce(excluded.started, a.started), ended = excluded.ended;

-- name: trials_list (text, text[], int8[], float8[], uuid[])
--   -> (uuid, int4, int2, text, int4, jsonb, float8, int8, float8, jsonb, text, int2, int8, int8, int8, int2, int4, int4, int4,
--   int4, int8, float8, int8, text[]) repeatable
-- As find_rows() takes it: see tracker/search/trial_search.h. Id, number, state, reason, attempt, point, value, step, best, stop, node, slots,
-- created, start, end, what it was made by and from, the last report and its step; the key of the page.
select r.*, f.page_key
from find_rows($1, $2, $3, $4, $5) with ordinality f (id, n, v, page_key, place)
cross join lateral (
  select id, trial, state, state_reason, attempt, point, value, value_step, best_value, stop, case when attempt > 0 then coalesce(node, executor) end, slots, created,
    start_time, end_time, made_by, made_tells, made_pending, at_tells, told, made_reports, coalesce(last_value, value), coalesce(last_step, value_step)
  from run x where x.id = f.id offset 0) r
order by f.place;

-- name: trials_best (uuid, bool, int8)
--   -> (uuid, int4, int2, text, int4, jsonb, float8, int8, float8, jsonb, text, int2, int8, int8, int8, int2, int4, int4, int4,
--   int4, int8, float8, int8) repeatable
-- Sweep, whether more is better, how many. Of those that finished or were stopped early.
select id, trial, state, state_reason, attempt, point, value, value_step, best_value, stop, case when attempt > 0 then coalesce(node, executor) end, slots, created,
  start_time, end_time, made_by, made_tells, made_pending, at_tells, told, made_reports, coalesce(last_value, value), coalesce(last_step, value_step)
from run where sweep_id = $1 and state in (4, 6) and value is not null and value not in ('NaN', case when $2 then float8 'inf' else '-inf' end)
order by case when $2 then -value else value end, trial limit $3;

-- name: trials_progress (uuid, bool) -> (int4, int8, float8) repeatable
-- Sweep, whether more is better. Number, end, value of those that finished or were stopped early, in the order they ended.
select trial, end_time, value from run where sweep_id = $1 and state in (4, 6) and value is not null
  and value not in ('NaN', case when $2 then float8 'inf' else '-inf' end)
order by end_time, trial;

-- name: sweep_of_job (uuid) -> (uuid) repeatable
-- The sweep of a trial, or of a launched run, that was run by the service. No row: it was not.
select s.id from run r join sweep s on s.id = coalesce(r.sweep_id, r.id)
where r.id = $1 and r.kind = 0 and r.executor is not null and r.deleted_at is null and s.deleted_at is null;

-- name: trial_outcome (uuid) -> (uuid, int2, float8) repeatable
-- Sweep, state, value of a run that is a trial.
select sweep_id, state, value from run where id = $1 and sweep_id is not null and deleted_at is null;

-- name: run_attempt (uuid) -> (int4) repeatable
select attempt from run where id = $1 and deleted_at is null;

-- name: sweep_register_want (uuid) -> () repeatable
insert into sweep_register (sweep) values ($1) on conflict do nothing;

-- name: sweep_register_due () -> (uuid) repeatable
-- Sweeps that are over and whose best trial is not registered.
select r.sweep from sweep_register r join sweep s on s.id = r.sweep where not r.done and s.state >= 3 and s.deleted_at is null;

-- name: sweep_register_info (uuid) -> (text, text, bool) repeatable
-- Name, spec, whether it is over.
select name, spec, state >= 3 from sweep where id = $1 and deleted_at is null;

-- name: sweep_version_get (uuid, uuid) -> (int4, bool) repeatable
-- Sweep, run. Version, whether its files are linked.
select version, kept from sweep_version where sweep = $1 and run = $2;

-- name: sweep_version_make (uuid, uuid, text, int8, text, text, jsonb) -> (int4, int8, bool) repeatable
-- Sweep, run, model, now, source, description, tags. The version, the model's key and whether its files are kept; the same again when it is
-- made already.
with known as (
  select v.version, m.id, exists (
    select from model_version f where f.model = m.id and f.version = v.version and f.kept_path is not null) as kept
  from sweep_version v join registered_model m on m.name = v.model where v.sweep = $1 and v.run = $2),
m as (
  update registered_model set last_version = last_version + 1, updated = $4 where name = $3 and not exists (select from known)
  returning id, last_version),
made as (
  insert into model_version (model, version, created, updated, source, storage_location, run_id, description, tags, user_id, metrics)
  select m.id, m.last_version, $4, $4, $5, $5, replace($2::text, '-', ''), $6, $7, 'sweep',
    coalesce((select r.metrics from run r where r.id = $2), '{}')
  from m returning 1),
noted as (insert into sweep_version (sweep, run, model, version) select $1, $2, $3, m.last_version from m, made)
select version, id, kept from known union all select last_version, id, false from m;

-- name: sweep_version_kept (uuid, uuid) -> () repeatable
update sweep_version set kept = true where sweep = $1 and run = $2;

-- name: sweep_register_note (uuid, bool, text) -> (jsonb, jsonb) repeatable
-- Sweep, whether there is nothing left to make, a warning or null. What was registered, and the warnings, which a finished sweep's summary
-- shows too.
with list as (
  select coalesce(jsonb_agg(jsonb_build_object('model', model, 'version', version, 'run_id', replace(run::text, '-', '')) order by version),
    '[]') as made
  from sweep_version where sweep = $1 and kept),
done as (update sweep_register set done = true where sweep = $1 and $2 and not done),
told as (
  select case when $3 is null or warnings ? $3 then warnings else warnings || jsonb_build_array($3) end as all from sweep where id = $1)
update sweep set warnings = told.all,
  summary = case when summary is null then null else summary || jsonb_build_object('registered', list.made, 'warnings', told.all) end
from list, told where id = $1 returning list.made, told.all;

-- name: trials_over (uuid) -> (uuid) repeatable
-- Trials of a sweep that have ended.
select id from run where sweep_id = $1 and state >= 4 and deleted_at is null order by trial;

-- name: trial_value (uuid, float8, int8, float8, float8, int8, bool, text) -> () repeatable
-- Run, value, its step, best, last report and its step, whether it has ended well with that, why not otherwise: read from its output after the sweep was over. What
-- had failed for want of the goal metric alone has not; what has lost it has failed of that.
update run set value = $2, value_step = $3, best_value = $4, last_value = $5, last_step = $6,
  state = case when state = 5 and cause = 5 and $7 then 4 when state = 4 and not $7 then 5 else state end,
  cause = case when state = 5 and cause = 5 and $7 then 0 when state = 4 and not $7 then 5 else cause end,
  state_reason = case when state = 5 and cause = 5 and $7 then null when state = 4 and not $7 then $8 else state_reason end
where id = $1 and state >= 4;

-- name: sweep_values_again (uuid, bool, text, text, text) -> () repeatable
-- Sweep that is over, whether more is better; that all its trials have failed, that all were made, that every point was tried, in words.
-- What its summary shows then: how many trials ended how, the best as trials_best finds it; and whether it has failed, all of them having.
with t as (
  select count(*) filter (where state = 4) as finished, count(*) filter (where state = 5) as failed,
    count(*) filter (where state in (4, 6)) as good
  from run where sweep_id = $1),
s as (
  select id, why as before, finished, failed, case when state = 5 and why = 10 and good > 0 then case when exhausted then 9 else 8 end
    when state = 3 and why in (8, 9) and good = 0 and failed > 0 then 10 else why end as now
  from sweep, t where id = $1 and summary is not null and not single),
changed as (
  update sweep set why = now, state = case when now = before then state when now = 10 then 5 else 3 end,
    summary = summary || jsonb_build_object('progress', summary -> 'progress' || jsonb_build_object('finished', finished, 'failed', failed),
      'best', (
        select jsonb_build_object('run_id', replace(id::text, '-', ''), 'number', trial, 'value', value, 'step', value_step, 'params', point)
        from run where sweep_id = $1 and state in (4, 6) and value is not null
          and value not in ('NaN', case when $2 then float8 'inf' else '-inf' end)
        order by case when $2 then -value else value end, trial limit 1))
      || case now when before then '{}' when 10 then jsonb_build_object('state', 'FAILED', 'state_reason', $3::text)
        else jsonb_build_object('state', 'FINISHED', 'state_reason', case now when 8 then $4::text else $5::text end) end
  from s where sweep.id = s.id returning sweep.id, sweep.state)
update run set state = case changed.state when 5 then 5 else 4 end from changed where run.id = changed.id and kind = 1 and run.state in (4, 5)
  and changed.state in (3, 5);
