-- One active service a database; used by storage/active.c.

-- name: active_lock () -> (bool)
-- Held by the session until it ends.
select pg_try_advisory_lock(7310579611042530306);

-- name: active_newest () -> (int8, text, int4, text, text) repeatable
-- Who holds the database, or held it last.
select epoch, host, pid, data_dir, to_char(started at time zone 'UTC', 'YYYY-MM-DD HH24:MI:SS') || ' UTC'
from service_epoch
order by epoch desc
limit 1;

-- name: active_begin (text, int4, text) -> (int8)
-- No row: a transaction of the service before, which may be dead, has not ended (engine_enter).
insert into service_epoch (host, pid, data_dir) select $1, $2, $3 where pg_try_advisory_xact_lock(7310579611042530307) returning epoch;

-- name: active_end (int8) -> (bool)
-- Says when it ended, and lets the lock go.
with done as (update service_epoch set ended = clock_timestamp() where epoch = $1)
select pg_advisory_unlock(7310579611042530306);
