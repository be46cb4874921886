-- What brings a database to the program's schema; used by storage/migrate.c alone.

-- name: migrate_schema () -> ()
create schema if not exists winnow;

-- name: migrate_table () -> ()
create table if not exists winnow.migration (
  name text primary key,
  sha256 text not null,
  winnow text not null,
  applied timestamptz not null default now()
);

-- name: migrate_lock_timeout () -> ()
set lock_timeout = '60s';

-- name: migrate_lock () -> (text)
-- One program migrates at a time. The number is nobody else's.
select 'locked' from (select pg_advisory_lock(7310579611042530305)) as lock;

-- name: migrate_list () -> (text, text, text) repeatable
select name, sha256, winnow from winnow.migration order by name;

-- name: migrate_note (text, text, text) -> ()
insert into winnow.migration (name, sha256, winnow) values ($1, $2, $3);
