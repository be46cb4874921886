-- Checks, cleaning, deletion for good: tracker/care/fsck.c, tracker/care/gc.c, tracker/care/purge.c; figures for `winnow admin stats`.

-- name: artifact_page (text, int8) -> (text, int8, bytea, int8, bool) repeatable
-- The $2 files after a path: path, size, SHA-256, when, whether it is just being replaced.
select path, size, sha256, created, exists (select from artifact_coming c where c.path = a.path) from artifact a where path > $1
order by path limit $2;

-- name: artifact_rows (text[]) -> (text, int8, bytea, int8, bool) repeatable
-- The same, of these paths.
select path, size, sha256, created, exists (select from artifact_coming c where c.path = a.path) from artifact a where path = any($1)
order by path;

-- name: artifact_known (text[], int8) -> (text) repeatable
-- Those of these paths that something names: a row of the store, and below registry/ the version that keeps what lies there, or is about to:
-- then it is marked, or its files have rows from after $2, or somebody has his turn at them. One without the mark that does not say by then
-- that it keeps them never will.
select t.path from unnest($1) t (path)
where case when t.path ~ '^registry/\d{1,18}/\d{1,9}(/|$)' then exists (
    select from model_version v
    where v.model = split_part(t.path, '/', 2)::int8 and v.version = split_part(t.path, '/', 3)::int4 and v.deleted_at is null
      and case when v.kept_path is null then v.keep_from is not null or exists (select from artifact a where a.path = t.path and a.created > $2)
        else v.kept_path = array_to_string((string_to_array(t.path, '/'))[1:3], '/') end)
  else exists (select from artifact a where a.path = t.path) end;

-- name: artifact_rows_of (text[], int8) -> (text, int8) repeatable
-- Path and size of the rows of these paths that were there at $2 already.
select path, size from artifact where path = any($1) and created <= $2;

-- name: artifact_forget (text, bytea, int8) -> () repeatable
-- A row whose file is not there, if it is still the one that was looked at.
delete from artifact where path = $1 and sha256 = $2 and created = $3;

-- name: version_kept_page (int8, int4, int8) -> (int8, int4, text, text, int8, bytea, bool) repeatable
-- The $3 versions after (model's key, version) that keep files: these two, the model's name, where, size, digest, whether its files have rows.
select v.model, v.version, m.name, v.kept_path, v.size, v.digest,
  exists (select from artifact a where a.path = v.kept_path or (a.path > v.kept_path || '/' and a.path < v.kept_path || '0'))
from model_version v join registered_model m on m.id = v.model
where (v.model, v.version) > ($1, $2) and v.kept_path is not null and v.deleted_at is null
order by v.model, v.version limit $3;

-- name: run_trash (int8, uuid[], int8, uuid, int8) -> (uuid, text, text, int8) repeatable
-- Deleted up to then; only these (null: all); after (deleted, id); how many. Id, name, artifact URI, when it was deleted. A trial, and the run
-- that stands for a sweep, go with the sweep only; what an executor still runs comes another time.
select r.id, r.name, coalesce(r.artifact_uri, uri_below(e.artifact_location, replace(r.id::text, '-', '') || '/artifacts')), r.deleted_at
from run r join experiment e on e.id = r.experiment_id
where r.deleted_at is not null and r.deleted_at <= $1 and ($2::uuid[] is null or r.id = any($2)) and (r.deleted_at, r.id) > ($3, $4)
  and not exists (select from sweep s where s.id in (r.id, r.sweep_id) and s.deleted_at is null and not s.single)
  and (r.executor is null or r.state >= 4)
order by r.deleted_at, r.id limit $5;

-- name: sweep_trash (int8, uuid, int8) -> (uuid, text, int8) repeatable
-- Deleted up to then; after an id; how many. Id, name, when. Those that still have trials come another time.
select s.id, s.name, s.deleted_at from sweep s
where s.deleted_at <= $1 and s.id > $2 and not exists (select from run r where r.sweep_id = s.id and (r.deleted_at is null or r.deleted_at > $1))
order by s.id limit $3;

-- name: logged_model_trash (int8, uuid, int8) -> (uuid, text, text, int8) repeatable
-- The same of logged models, also of those in experiments that go themselves (experiment_trash): id, name, artifact URI, when.
select m.id, m.name,
  coalesce(m.artifact_uri, uri_below(e.artifact_location, 'models/m-' || replace(m.id::text, '-', '') || '/artifacts')),
  least(m.deleted_at, e.deleted_at)
from logged_model m join experiment e on e.id = m.experiment_id
where m.id > $2 and (m.deleted_at <= $1 or (e.deleted_at <= $1
  and not exists (select from run r where r.experiment_id = e.id and (r.deleted_at is null or r.deleted_at > $1))
  and not exists (select from sweep s where s.experiment_id = e.id and not s.single and (s.deleted_at is null or s.deleted_at > $1))))
order by m.id limit $3;

-- name: experiment_trash (int8, int8, int8) -> (int8, text, text, int8) repeatable
-- The same of experiments in which nothing stays (their logged models go with them): id, name, location, when.
select e.id, e.name, e.artifact_location, e.deleted_at from experiment e
where e.deleted_at <= $1 and e.id > $2
  and not exists (select from run r where r.experiment_id = e.id and (r.deleted_at is null or r.deleted_at > $1))
  and not exists (select from sweep s where s.experiment_id = e.id and not s.single and (s.deleted_at is null or s.deleted_at > $1))
order by e.id limit $3;

-- name: run_purge (uuid, int8, text) -> (bool) repeatable
-- Run, deleted up to then, directory of its files or null. Whether it was deleted for good: not when it has been restored meanwhile. What a
-- launched run has as its sweep goes with it.
with gone as materialized (select run_purge($1, $2, $3) as done),
single as (delete from sweep s using gone where gone.done and s.id = $1 and s.single returning 1),
reports as (delete from report p using gone where gone.done and p.sweep = $1 and exists (select from sweep s where s.id = $1 and s.single) returning 1)
select done from gone;

-- name: sweep_purge (uuid, int8) -> (bool) repeatable
select sweep_purge($1, $2);

-- name: logged_model_purge (uuid, int8, text) -> (bool) repeatable
select logged_model_purge($1, $2, $3);

-- name: experiment_purge (int8, int8, text) -> (bool) repeatable
-- Its directory or null.
select experiment_purge($1, $2, $3);

-- name: doomed_page (int8, int8) -> (int8, text, uuid, bool) repeatable
-- The $2 after an id: id, path in the store of artifacts or null, run whose jobs' directory goes or null, whether the path goes only where it is an
-- empty directory.
select id, path, job, if_empty from doomed where id > $1 order by id limit $2;

-- name: doomed_done (int8) -> () repeatable
delete from doomed where id = $1;

-- name: doomed_gone (text) -> () repeatable
-- A path that was removed past the care of what is doomed.
delete from doomed where path = $1;

-- name: stats_tables () -> (text, int8, int8, int8) repeatable
-- Name, rows (as last counted by vacuum), dead rows, bytes with indexes and TOAST.
select c.relname::text, greatest(c.reltuples, 0)::int8, coalesce(s.n_dead_tup, 0), pg_total_relation_size(c.oid)
from pg_class c join pg_namespace n on n.oid = c.relnamespace left join pg_stat_user_tables s on s.relid = c.oid
where n.nspname = 'winnow' and c.relkind = 'r' order by 4 desc, 1;

-- name: stats_totals () -> (int8, int8, int8, int8, int8, int8, int8, int8) repeatable
-- Bytes of the database; files of the store and their bytes; runs, sweeps and experiments in the trash, since when the oldest run; what is
-- still to be removed.
select pg_database_size(current_database()), (select count(*) from artifact), (select coalesce(sum(size), 0)::int8 from artifact),
  (select count(*) from run where deleted_at is not null), (select count(*) from sweep where deleted_at is not null),
  (select count(*) from experiment where deleted_at is not null), (select min(deleted_at) from run where deleted_at is not null),
  (select count(*) from doomed);

-- name: artifact_all () -> (text, int8, bytea) repeatable
-- Path, size, SHA-256 of every file, in order.
select path, size, sha256 from artifact order by path;

-- name: artifact_drop (text) -> () repeatable
delete from artifact where path = $1;

-- name: sweep_pause_all () -> (int8)
-- In a database that comes from a backup: what ran there is not to begin here by itself. How many.
with paused as (update sweep set state = 1, version = version + 1 where state = 0 and deleted_at is null returning 1)
select count(*) from paused;
