-- Who serves this database.

-- name: service_ping () -> (int8) repeatable
-- The newest epoch; also what a health check asks.
select coalesce(max(epoch), 0) from service_epoch;

-- name: tx_begin () -> ()
begin;

-- name: tx_commit () -> ()
commit;

-- name: tx_rollback () -> ()
rollback;

-- name: set_timeout (text) -> (text)
-- For the rest of the transaction, which is this operation.
select set_config('statement_timeout', $1, true);

-- name: set_session_timeout (text) -> (text)
-- Until it is set again.
select set_config('statement_timeout', $1, false);

-- name: role_verifier (text) -> (text)
-- A SCRAM verifier, for role_set_password in the same transaction.
select set_config('winnow.verifier', $1, true);

-- name: role_set_password () -> ()
-- Of the role we are. The private database's first password came with its template.
do $$
begin
  execute format('alter role %I password %L', current_user, current_setting('winnow.verifier'));
end
$$;

-- name: log_place () -> (int8, text, int8) repeatable
-- Of the write-ahead log: the position, the timeline as files are named by it, and the size of its files.
select pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')::int8, substr(pg_walfile_name(pg_current_wal_insert_lsn()), 1, 8),
  (select setting::int8 from pg_settings where name = 'wal_segment_size');
