-- Output of runs: see sql/migrations/0004_logs.sql and tracker/logs/log_store.h.

-- name: log_piece_add (uuid, int4, int2, int8, int4, int8, int8, bool, bytea) -> ()
-- Run, attempt, stream, start, size, time, lost, packed, data.
insert into log_piece (run, attempt, stream, start, size, time, lost, packed, data) values ($1, $2, $3, $4, $5, $6, $7, $8, $9);

-- name: log_stream_move (uuid, int4, int2, int8, int8, bytea, text, int4, text[], text, int8, int8, int8) -> ()
-- Run, attempt, stream, next, state_at, state (null: as it was), summary, series, keys to add; what a new one is read with; how many points
-- more, and mixed; bytes given up.
insert into log_stream as s (run, attempt, stream, next, state_at, state, summary, series, keys, sources, points, mixed, lost)
values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)
on conflict (run, attempt, stream) do update set next = $4, state_at = case when $6 is null then s.state_at else $5 end,
  state = coalesce($6, s.state), summary = $7, series = $8, keys = case when $9 = '{}' then s.keys else s.keys || $9 end,
  points = s.points + $11, mixed = s.mixed # $12, lost = $13;

-- name: log_streams (uuid, int4) -> (int2, int8, int8, bytea, text[], int8, int8) repeatable
-- Stream, next, state_at, state of an attempt, keys of its points, when its last piece came, bytes given up. Without a state all of it is to
-- be read.
select stream, next, case when state is null then 0 else state_at end, state, keys,
  (select p.time from log_piece p where p.run = s.run and p.attempt = s.attempt and p.stream = s.stream order by p.start desc limit 1), lost
from log_stream s where run = $1 and attempt = $2;

-- name: log_streams_all (uuid) -> (int4, int2, int8, text[], text, int8, int8) repeatable
-- Attempt, stream, next, keys of its points, what it was read with, how many points it gave, and mixed.
select attempt, stream, next, keys, sources, points, mixed from log_stream where run = $1 order by attempt, stream;

-- name: log_stream_reread (uuid, int4, int2, text, int4, text[], text, int8, int8, int8, int8, int8) -> ()
-- Run, attempt, stream, summary, series, keys, what with, points, mixed: it was read anew, as it was when its next, points and mixed were $10
-- to $12. Raises WN421 when they are not any more.
with moved as (
  update log_stream set summary = $4, series = $5, keys = $6, sources = $7, points = $8, mixed = $9
  where run = $1 and attempt = $2 and stream = $3 and next = $10 and points = $11 and mixed = $12 returning 1)
select from log_stream_is_as_read(exists (select from moved));

-- name: log_stream_info (uuid, int4) -> (int4, int2, int8, text, int4) repeatable
-- Attempt, stream, next, summary, series of all attempts of a run, or of one ($2; 0: all), newest first.
select attempt, stream, next, summary, series from log_stream where run = $1 and ($2 = 0 or attempt = $2) order by attempt desc, stream;

-- name: log_pieces (uuid, int4, int2, int8, int8) -> (int8, int4, int8, int8, bool, bytea) repeatable
-- Start, size, time, lost, packed, data of the pieces that hold bytes from $4 on and before $5, in order.
select start, size, time, lost, packed, data from log_piece
where run = $1 and attempt = $2 and stream = $3 and start + size > $4 and start < $5
order by start;

-- name: log_next_piece (uuid, int4, int2, int8) -> (int8) repeatable
-- Where the first piece that does not begin before $4 begins.
select start from log_piece where run = $1 and attempt = $2 and stream = $3 and start >= $4 order by start limit 1;

-- name: log_kept_end (uuid, int4, int2) -> (int8) repeatable
-- Where the last piece of a stream ends. No row: nothing of it is kept.
select start + size from log_piece where run = $1 and attempt = $2 and stream = $3 order by start desc limit 1;

-- name: log_drop (uuid, int4) -> ()
-- All output of a run, or of the attempts up to $2.
with pieces as (delete from log_piece where run = $1 and attempt <= $2)
delete from log_stream where run = $1 and attempt <= $2;

-- name: log_file_state (uuid, int4, int2, text) -> (bytea) repeatable
-- Run, attempt, source, path.
select state from log_file where run = $1 and attempt = $2 and source = $3 and path = $4;

-- name: log_file_move (uuid, int4, int2, text, int8, bytea, bytea) -> ()
-- Run, attempt, source, path, next, state; the state that it was read with, or null. Raises WN421 when that is another by now: a piece of the
-- same file came between.
with moved as (
  insert into log_file (run, attempt, source, path, next, state) values ($1, $2, $3, $4, $5, $6)
  on conflict (run, attempt, source, path) do update set next = $5, state = $6 where log_file.state = $7 returning 1)
select from log_stream_is_as_read(exists (select from moved));

-- name: log_files (uuid) -> (int2, text, int8, bytea) repeatable
-- Source, path, bytes read, state of the metric files of a run's newest attempt, of at most so many that a person reads.
select f.source, f.path, f.next, f.state from log_file f join run r on r.id = f.run and r.attempt = f.attempt
where f.run = $1 order by f.source, f.path limit 20;

-- name: run_metrics_from (uuid) -> (text) repeatable
-- Where the metrics of a run are read, as its sweep says; null: it does not say.
select s.metrics_from from run r join sweep s on s.id = coalesce(r.sweep_id, r.id) where r.id = $1;

-- name: run_state (uuid) -> (int2, int4) repeatable
-- State, attempt.
select state, attempt from run where id = $1 and deleted_at is null;

-- name: log_delete (uuid) -> (bool)
-- All output of a run that is over; its metrics stay. No row: there is no such run; false: it goes on.
with r as (select id, state >= 4 as over from run where id = $1 and deleted_at is null),
pieces as (delete from log_piece p using r where p.run = r.id and r.over),
streams as (delete from log_stream s using r where s.run = r.id and r.over)
select over from r;

-- name: log_expire (int8, int4) -> (int8)
-- Output of runs that ended before $1, of at most so many runs. Of how many.
with old as materialized (
  select r.id from run r where r.state >= 4 and r.end_time < $1 and exists (select from log_stream s where s.run = r.id) limit $2),
pieces as (delete from log_piece p using old where p.run = old.id),
streams as (delete from log_stream s using old where s.run = old.id),
files as (delete from log_file f using old where f.run = old.id)
select count(*) from old;
