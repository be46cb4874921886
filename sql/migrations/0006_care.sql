-- Care for what is there. Trash is deleted for good: rows in one transaction, which also notes the files that have to go; who removes them
-- takes the note away, so that a crash in between leaves neither rows without files nor files that nobody knows of.
--
-- What came of a POST that creates is kept for a day under its Idempotency-Key. What earlier attempts of a run came to is kept when the next
-- one begins. A page's session knows the token that opened it.

create table doomed (
  id bigint generated always as identity primary key,
  path text, -- in the store of artifacts
  job uuid   -- the run whose jobs' directory goes
);

create index run_by_deleted on run (deleted_at, id) where deleted_at is not null;
create index model_version_by_kept on model_version (kept_path) where kept_path is not null;

-- Each statement of a function sees what was committed before it began. A sealing that is under way holds its rows of metric_tail: the first
-- delete waits for it, the second sees its chunks; none can begin after that.
create function run_purge(gone uuid, before bigint, files text) returns boolean language plpgsql as $$
begin
  perform from run r where r.id = gone and r.deleted_at <= before
    and not exists (select from sweep s where s.id = r.sweep_id and s.deleted_at is null) for update;
  if not found then
    return false;
  end if;
  delete from metric_tail where run = gone;
  delete from metric_chunk where run = gone;
  delete from metric_tail where run = gone; -- and what it put together
  delete from log_piece where run = gone;
  delete from log_stream where run = gone;
  insert into doomed (path, job) values (files, gone);
  delete from run where id = gone;
  return true;
end
$$;

create function sweep_purge(gone uuid, before bigint) returns boolean language plpgsql as $$
begin
  perform from sweep where id = gone and deleted_at <= before and not exists (select from run where sweep_id = gone) for update;
  if not found then
    return false;
  end if;
  delete from report where sweep = gone;
  delete from sweep where id = gone;
  return true;
end
$$;

create function logged_model_purge(gone uuid, before bigint, files text) returns boolean language plpgsql as $$
begin
  delete from logged_model where id = gone and deleted_at <= before;
  if not found then
    return false;
  end if;
  delete from run_model where model = gone;
  if files is not null then
    insert into doomed (path) values (files);
  end if;
  return true;
end
$$;

-- Only when nothing is left in it; its directory, which others may share, has then no file of ours.
create function experiment_purge(gone bigint, before bigint) returns boolean language plpgsql as $$
begin
  perform from experiment where id = gone and deleted_at <= before for update;
  if not found or exists (select from run where experiment_id = gone) or exists (select from sweep where experiment_id = gone) then
    return false;
  end if;
  if exists (select from logged_model where experiment_id = gone) then
    return false;
  end if;
  delete from experiment where id = gone;
  return true;
end
$$;

create table run_attempt (
  run uuid not null references run on delete cascade,
  attempt int not null,
  state smallint not null,
  reason text,
  exit_code int,
  signal int,
  node text,
  started bigint,
  ended bigint,
  primary key (run, attempt)
);

create table idempotency (
  key bytea primary key,       -- SHA-256 of who asks, what for, and the key
  request bytea not null,      -- SHA-256 of query and body
  created bigint not null,
  status smallint,             -- null: under way
  content_type text,
  answer bytea
);
create index idempotency_by_created on idempotency (created);

alter table token add column parent uuid;
