-- Experiments, runs and all that hangs on them; logged models; the registry; artifacts.
--
-- A run is one row. Three thousand trials a second fit two cores only if a trial is one INSERT that touches few indexes, so params, tags and
-- the last value of each metric are packed into three jsonb columns beside the fields, in place of one row each in three tables with two
-- indexes apiece: 15 such rows cost some 2 KB and 15 heap and 30 index insertions, the packed columns some 350 bytes and none. A search
-- of 1,000 runs then reads 1,000 rows and is done; nothing is joined or gathered.
--
-- What an INSERT pays for: the primary key (ids begin with the time, so it grows at its right end), (experiment_id, start_time, id), which
-- is MLflow's default order and every list of the page, and the two small partial indexes where they apply. Everything else that search
-- uses is filled behind the writer's back:
--   run_words   one GIN over params and tags (jsonb_path_ops: hashes of key and value, for `=`). New rows go to its pending list, which
--               searches read in full; the service empties it every few seconds (run_words_clean), so no writer ever does, which is why
--               gin_pending_list_limit is large.
--   run_metric  a row for each metric of each run, for ranges and order. Who writes run.metrics notes the run in run_unindexed; the service
--               moves them over, and a search reads the packed column of those it still finds there. A run that goes on logging stays
--               noted and costs the index nothing.
-- An update of metrics or state changes no indexed column, so it is a heap-only update; fillfactor leaves room for it on the page.
--
-- Computed, not stored: the tag mlflow.runName (run.name), mlflow.parentRunId of a trial (sweep_id), artifact_uri (the experiment's location
-- and the ids) unless one was imported, the events of creation and end.
--
-- Times are milliseconds since 1970, as clients send them.

create table experiment (
  id bigint primary key,
  name text collate "C" not null unique,
  artifact_location text not null,
  created bigint not null,
  updated bigint not null,
  deleted_at bigint,
  tags jsonb not null default '{}'
);
create sequence experiment_id minvalue 0 start 1 owned by experiment.id;

-- state: 0 QUEUED 1 STARTING 2 RUNNING 3 STOPPING 4 FINISHED 5 FAILED 6 STOPPED 7 KILLED 8 LOST (tracker/run_state.h)
-- kind: 0 a run, 1 the parent run of a sweep, which has the sweep's id and is not listed by /api/v1
-- metrics: {"loss": [last value, step, time, min, max, count], ...}; numbers JSON cannot say are strings
create table run (
  id uuid primary key,
  experiment_id bigint not null, -- no foreign key: its check would lock the experiment's row for every run; experiments are not removed
  start_time bigint not null default 0,
  created bigint not null,
  end_time bigint,
  deleted_at bigint,
  heartbeat bigint,
  attempt int not null default 1,
  state smallint not null,
  kind smallint not null default 0,
  has_links boolean not null default false,     -- rows of run_dataset or run_model
  slots smallint,
  exit_code int,
  signal int,
  trial int,
  sweep_id uuid,
  value double precision, -- of a trial, as its sweep's goal sees it
  value_step bigint,
  best_value double precision,
  lease_until bigint, -- ask and tell: when the trial goes to the next who asks
  name text not null,
  user_id text not null default '',
  artifact_uri text,
  executor text, -- who runs it; a client's word on its state is then a hint
  node text,
  worker text,
  state_reason text,
  command jsonb,
  stop jsonb, -- {"rule", "step", "reason"}
  asked jsonb, -- what the sampler knew: tells seen, trials pending
  params jsonb not null default '{}',
  tags jsonb not null default '{}',
  metrics jsonb not null default '{}'
) with (fillfactor = 85);
create index run_by_start on run (experiment_id, start_time desc, id);
create unique index run_by_trial on run (sweep_id, trial) where sweep_id is not null;
create index run_words on run using gin (params jsonb_path_ops, tags jsonb_path_ops) with (fastupdate = on, gin_pending_list_limit = 65536);

create table run_metric ( -- in an order that leaves no gaps between the columns
  value double precision not null,
  run uuid not null references run on delete cascade,
  experiment_id int not null,
  key text collate "C" not null
);
create index run_metric_by_value on run_metric (experiment_id, key, value, run);
create index run_metric_by_run on run_metric (run);

-- Runs whose last metrics are not those of run_metric.
create table run_unindexed (
  run uuid primary key references run on delete cascade
);

-- Where a run came from and went to: datasets it read, logged models it read and made.
create table dataset (
  id bigint generated always as identity primary key,
  experiment_id bigint not null references experiment on delete cascade,
  name text not null,
  digest text not null,
  source_type text not null,
  source text not null,
  schema text,
  profile text,
  unique (experiment_id, name, digest)
);
create table run_dataset (
  run uuid not null references run on delete cascade,
  dataset bigint not null references dataset,
  position bigint generated always as identity,
  tags jsonb not null default '{}',
  primary key (run, dataset)
);
create index run_dataset_by_dataset on run_dataset (dataset);
create table run_model (
  run uuid not null references run on delete cascade,
  model uuid not null,
  made boolean not null, -- an output; else an input
  step bigint not null default 0,
  position bigint generated always as identity,
  primary key (run, model, made, step)
);

-- status: 1 PENDING 2 READY 3 UPLOAD_FAILED
create table logged_model (
  id uuid primary key,
  experiment_id bigint not null references experiment,
  created bigint not null,
  updated bigint not null,
  deleted_at bigint,
  status smallint not null default 1,
  source_run uuid,
  name text not null,
  model_type text not null default '',
  status_message text,
  artifact_uri text,
  params jsonb not null default '{}',
  tags jsonb not null default '{}'
);
create index logged_model_by_created on logged_model (experiment_id, created desc, id);
create index logged_model_by_run on logged_model (source_run) where source_run is not null;

create table logged_model_metric (
  model uuid not null references logged_model on delete cascade,
  run uuid not null,
  step bigint not null,
  time bigint not null,
  value double precision not null,
  key text collate "C" not null,
  dataset_name text,
  dataset_digest text,
  primary key (model, key, time, step, run)
);

-- The registry. Versions are numbered without gaps under the lock of their model's row.
create table registered_model (
  id bigint generated always as identity primary key,
  name text collate "C" not null unique,
  created bigint not null,
  updated bigint not null,
  last_version int not null default 0,
  description text,
  tags jsonb not null default '{}',
  is_prompt boolean generated always as (coalesce(lower(tags ->> 'mlflow.prompt.is_prompt') = 'true', false)) stored
);

-- stage: 0 None 1 Staging 2 Production 3 Archived. status: 1 PENDING_REGISTRATION 2 FAILED_REGISTRATION 3 READY
-- A deleted version keeps its number.
create table model_version (
  model bigint not null references registered_model on delete cascade,
  version int not null,
  created bigint not null,
  updated bigint not null,
  deleted_at bigint,
  size bigint,
  stage smallint not null default 0,
  status smallint not null default 3,
  run_id text not null default '', -- as the client says: it need not be one of ours
  model_id text not null default '',
  source text not null,
  storage_location text not null, -- what download URIs answer
  kept_path text,                 -- where our own copy lies, by hard links
  description text not null default '',
  user_id text not null default '',
  run_link text not null default '',
  status_message text not null default '',
  digest bytea,
  tags jsonb not null default '{}',
  metrics jsonb not null default '{}', -- of the run, when the version was made
  is_prompt boolean generated always as (coalesce(lower(tags ->> 'mlflow.prompt.is_prompt') = 'true', false)) stored,
  primary key (model, version)
);
create index model_version_by_run on model_version (run_id) where run_id <> '';
create index model_version_by_model on model_version (model_id) where model_id <> '';

create table model_alias (
  model bigint not null references registered_model on delete cascade,
  alias text not null,
  version int not null,
  primary key (model, alias),
  foreign key (model, version) references model_version on delete cascade
);

-- A file of the artifact store, under its path below the store's directory.
create table artifact (
  path text collate "C" primary key,
  size bigint not null,
  sha256 bytea not null check (length(sha256) = 32),
  created bigint not null
);

-- Who changed what, but for what the rows above tell by themselves.
create table event (
  id bigint generated always as identity primary key,
  time bigint not null,
  kind text not null,
  actor text not null,
  subject text not null, -- as people name it
  run uuid references run on delete cascade,
  from_state text,
  to_state text,
  reason text
);
create index event_by_run on event (run, id) where run is not null;
create index event_by_subject on event (subject, id) where run is null;

create function run_state_name(state smallint) returns text language sql immutable parallel safe as $$
  select (array['QUEUED', 'STARTING', 'RUNNING', 'STOPPING', 'FINISHED', 'FAILED', 'STOPPED', 'KILLED', 'LOST'])[state + 1]
$$;

-- The word that MLflow has for a state.
create function run_status(state smallint) returns text language sql immutable parallel safe as $$
  select (array['SCHEDULED', 'SCHEDULED', 'RUNNING', 'RUNNING', 'FINISHED', 'FAILED', 'KILLED', 'KILLED', 'FAILED'])[state + 1]
$$;

-- A run as it is read.
create view run_view as
  select r.id, r.experiment_id, r.start_time, r.created, r.end_time, r.deleted_at, r.heartbeat, r.attempt, r.state, r.kind, r.has_links, r.slots,
    r.exit_code, r.signal, r.trial, r.sweep_id, r.name, r.user_id,
    coalesce(r.artifact_uri, e.artifact_location || '/' || replace(r.id::text, '-', '') || '/artifacts') as artifact_uri,
    r.executor, r.node, r.state_reason, r.command, r.params, r.tags, r.metrics,
    -- as MLflow shows them
    case when r.has_links then (
      select jsonb_agg(jsonb_strip_nulls(jsonb_build_object(
        'tags', (select jsonb_agg(jsonb_build_object('key', t.key, 'value', t.value)) from jsonb_each_text(x.tags) t),
        'dataset', jsonb_build_object('name', d.name, 'digest', d.digest, 'source_type', d.source_type, 'source', d.source,
          'schema', d.schema, 'profile', d.profile))) order by x.position)
      from run_dataset x join dataset d on d.id = x.dataset where x.run = r.id) end as dataset_inputs,
    case when r.has_links then (
      select jsonb_agg(jsonb_build_object('model_id', 'm-' || replace(x.model::text, '-', '')) order by x.position)
      from run_model x where x.run = r.id and not x.made) end as model_inputs,
    case when r.has_links then (
      select jsonb_agg(jsonb_build_object('model_id', 'm-' || replace(x.model::text, '-', ''), 'step', x.step) order by x.position)
      from run_model x where x.run = r.id and x.made) end as model_outputs
  from run r join experiment e on e.id = r.experiment_id;

create view logged_model_view as
  select m.id, m.experiment_id, m.created, m.updated, m.status, m.source_run, m.name, m.model_type, m.status_message,
    coalesce(m.artifact_uri, e.artifact_location || '/models/m-' || replace(m.id::text, '-', '') || '/artifacts') as artifact_uri,
    m.params, m.tags,
    -- as MLflow shows them
    (select jsonb_agg(jsonb_strip_nulls(jsonb_build_object('key', x.key, 'value', x.value, 'timestamp', x.time, 'step', x.step,
       'model_id', 'm-' || replace(x.model::text, '-', ''), 'run_id', replace(x.run::text, '-', ''), 'dataset_name', x.dataset_name,
       'dataset_digest', x.dataset_digest)) order by x.time, x.step, x.key)
     from logged_model_metric x where x.model = m.id) as metrics,
    (select jsonb_agg(jsonb_build_object('name', r.name, 'version', v.version::text) order by r.name, v.version)
     from model_version v join registered_model r on r.id = v.model
     where v.model_id = 'm-' || replace(m.id::text, '-', '') and v.model_id <> '' and v.deleted_at is null) as registrations
  from logged_model m join experiment e on e.id = m.experiment_id
  where m.deleted_at is null;

create view model_version_view as
  select m.name, v.version, v.created, v.updated, v.stage, v.status, v.run_id, v.model_id, v.source, v.storage_location, v.kept_path,
    v.description, v.user_id, v.run_link, v.status_message, v.size, v.digest, v.tags, v.metrics,
    (select array_agg(a.alias order by a.alias) from model_alias a where a.model = v.model and a.version = v.version) as aliases,
    v.model as model_key
  from model_version v join registered_model m on m.id = v.model
  where v.deleted_at is null;

-- A metric's last value out of the packed column: null when there is none.
create function metric_last(metrics jsonb, key text) returns double precision language sql immutable parallel safe as $$
  select (metrics -> key ->> 0)::double precision
$$;

-- May the text `given` be logged again over `stored`? Equal as text, number, boolean or null.
create function param_same(stored text, given text) returns boolean language sql immutable parallel safe as $$
  select case
    when stored = given then true
    when length(stored) > 100 or length(given) > 100 then false
    when stored ~ '^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d{1,3})?$' and given ~ '^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d{1,3})?$'
      then stored::numeric = given::numeric
    when lower(stored) in ('true', 'false') then lower(stored) = lower(given)
    when lower(stored) in ('none', 'null') then lower(given) in ('none', 'null')
    else false
  end
$$;

-- May somebody with this pass write a run? True, or it raises. `pass`: -1 all runs, 0 those without an executor, else those and this attempt
-- of the run.
--   WN403 an executor runs it and the pass does not allow to write it     WN412 the pass is that of an attempt which is over
create function run_allow(executor text, attempt int, pass int) returns boolean language plpgsql as $$
begin
  if executor is not null and pass = 0 then
    raise exception 'the run belongs to its executor' using errcode = 'WN403';
  end if;
  if executor is not null and pass > 0 and pass <> attempt then
    raise exception 'the attempt is over' using errcode = 'WN412';
  end if;
  return true;
end
$$;

-- Adds params and tags to a run, all or nothing; a row lock makes writers of one run take turns. What goes wrong is raised, so that
-- whatever else is in the transaction does not happen either:
--   WN404 there is no such run     WN410 it is deleted     WN409 a param has another value
create function run_write(run_id uuid, new_params jsonb, new_tags jsonb, pass int) returns void language plpgsql as $$
declare
  old run%rowtype;
begin
  select * into old from run where id = run_id for update;
  if not found then
    raise exception 'no such run' using errcode = 'WN404';
  end if;
  if old.deleted_at is not null then
    raise exception 'the run is deleted' using errcode = 'WN410';
  end if;
  perform run_allow(old.executor, old.attempt, pass);
  if new_params <> '{}' and exists (
       select from jsonb_each_text(new_params) p where old.params ? p.key and not param_same(old.params ->> p.key, p.value)) then
    raise exception 'a param has another value' using errcode = 'WN409';
  end if;
  update run set
    params = case when new_params = '{}' then params else new_params || params end,
    name = coalesce(nullif(new_tags ->> 'mlflow.runName', ''), name),
    tags = case when new_tags = '{}' then tags else tags || (new_tags - 'mlflow.runName') end
  where id = run_id;
end
$$;

-- Runs a search that tracker/search/search_sql.c compiled: identifiers come from fixed tables, values are items of the arrays. Planned with the
-- values known, which is what lets the planner choose between run_words, run_metric and the index of the order.
-- Neither parallel workers nor compiled expressions: what they save on such short statements is less than what it takes to begin with them.
-- A row is known by `id` (runs, logged models), by `n` (experiments, registered models) or by `n` and `v` (versions).
create function find_rows(sql text, texts text[], ints bigint[], numbers double precision[], ids uuid[])
  returns table (id uuid, n bigint, v int, page_key text[]) language plpgsql stable
  set max_parallel_workers_per_gather = 0 set jit = off as $$
begin
  return query execute sql using texts, ints, numbers, ids;
end
$$;
