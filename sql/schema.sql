CREATE SCHEMA winnow;

CREATE COLLATION winnow.any_case (provider = libc, locale = 'C.UTF-8');

CREATE FUNCTION winnow.alias_to_version(which text, name_of text, number integer, at bigint, who text) RETURNS SETOF integer
    LANGUAGE plpgsql
    AS $$
declare
  held bigint := model_lock(which);
  was int;
begin
  perform from model_version v where v.model = held and v.version = number and v.deleted_at is null;
  if not found then
    return;
  end if;
  select a.version into was from model_alias a where a.model = held and a.alias = name_of;
  insert into model_alias (model, alias, version) values (held, name_of, number)
  on conflict (model, alias) do update set version = excluded.version;
  insert into event (time, kind, actor, subject, from_state, to_state, reason)
  values (at, 'model.alias', who, which || '/' || number, was::text, number::text, name_of);
  return next number;
end
$$;

CREATE FUNCTION winnow.attempt_is_over(job uuid, of_attempt integer) RETURNS boolean
    LANGUAGE sql STABLE
    AS $$
  select not coalesce((select r.executor is null or r.attempt = of_attempt from run r where r.id = job), false)
$$;

CREATE FUNCTION winnow.experiment_purge(gone bigint, before bigint, files text) RETURNS boolean
    LANGUAGE plpgsql
    AS $$
begin
  perform from experiment where id = gone and deleted_at <= before for update;
  if not found or exists (select from run where experiment_id = gone) or exists (select from sweep where experiment_id = gone) then
    return false;
  end if;
  if exists (select from logged_model where experiment_id = gone) then
    return false;
  end if;
  if files is not null then
    insert into doomed (path, if_empty) values (files || '/models', true), (files, true);
  end if;
  delete from experiment where id = gone;
  return true;
end
$$;

CREATE FUNCTION winnow.experiment_remove(which bigint, at bigint) RETURNS SETOF bigint
    LANGUAGE plpgsql
    AS $$
begin
  perform from experiment e where e.id = which and e.deleted_at is null;
  if not found then
    return;
  end if;
  update run r set deleted_at = at where r.experiment_id = which and r.deleted_at is null;
  perform from experiment e where e.id = which and e.deleted_at is null for no key update;
  if not found then
    return;
  end if;
  update run r set deleted_at = at where r.experiment_id = which and r.deleted_at is null;
  update experiment e set deleted_at = at, updated = at where e.id = which;
  return next which;
end
$$;

CREATE FUNCTION winnow.find_rows(sql text, texts text[], ints bigint[], numbers double precision[], ids uuid[]) RETURNS TABLE(id uuid, n bigint, v integer, page_key text[])
    LANGUAGE plpgsql STABLE
    SET max_parallel_workers_per_gather TO '0'
    SET jit TO 'off'
    SET enable_memoize TO 'off'
    AS $$
begin
  return query execute sql using texts, ints, numbers, ids;
end
$$;

CREATE FUNCTION winnow.log_stream_is_as_read(moved boolean) RETURNS void
    LANGUAGE plpgsql
    AS $$
begin
  if not moved then
    raise exception 'the output or its points have changed meanwhile' using errcode = 'WN421';
  end if;
end
$$;

CREATE FUNCTION winnow.logged_model_allow(source_run text, caller uuid, pass integer) RETURNS boolean
    LANGUAGE plpgsql
    AS $_$
declare
  digits text := replace(source_run, '-', '');
begin
  if pass >= 0 and digits ~ '^[0-9a-fA-F]{32}$' then
    perform run_allow(r.executor, r.attempt, case when r.id = caller then pass else 0 end) from run r where r.id = digits::uuid;
  end if;
  return true;
end
$_$;

CREATE FUNCTION winnow.logged_model_purge(gone uuid, before bigint, files text) RETURNS boolean
    LANGUAGE plpgsql
    AS $$
begin
  perform from experiment where id = (select experiment_id from logged_model where id = gone) for share; -- nobody restores it meanwhile
  delete from logged_model m where m.id = gone
    and (m.deleted_at <= before or exists (
      select from experiment e where e.id = m.experiment_id and e.deleted_at <= before
        and not exists (select from run r where r.experiment_id = e.id) and not exists (select from sweep s where s.experiment_id = e.id)));
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

CREATE FUNCTION winnow.metric_chunk_take(of_run uuid, keys integer[], ids bigint[]) RETURNS void
    LANGUAGE plpgsql
    AS $$
declare
  taken bigint;
begin
  delete from metric_chunk c using unnest(keys, ids) t (key, id) where c.run = of_run and c.key = t.key and c.id = t.id;
  get diagnostics taken = row_count;
  if taken <> cardinality(ids) then
    raise exception 'chunks are not there any more' using errcode = 'WN420';
  end if;
end
$$;

CREATE FUNCTION winnow.metric_key_id(name text) RETURNS integer
    LANGUAGE sql STABLE PARALLEL SAFE
    AS $_$
  select k.id from metric_key k where k.name = $1
$_$;

CREATE FUNCTION winnow.metric_last(metrics jsonb, key text) RETURNS double precision
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    AS $$
  select btrim(split_part(metrics ->> key, ' ', 1), '[,"')::double precision
$$;

CREATE FUNCTION winnow.metric_tail_take(of_run uuid, ids bigint[]) RETURNS void
    LANGUAGE plpgsql
    AS $$
declare
  taken bigint;
begin
  delete from metric_tail where run = of_run and id = any(ids);
  get diagnostics taken = row_count;
  if taken <> cardinality(ids) then
    raise exception 'unsealed points are not there any more' using errcode = 'WN420';
  end if;
end
$$;

CREATE FUNCTION winnow.metric_value(packed text) RETURNS double precision
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    AS $$
  select btrim(split_part(packed, ' ', 1), '[,"')::double precision
$$;

CREATE FUNCTION winnow.model_lock(which text) RETURNS bigint
    LANGUAGE sql
    AS $$
  select id from registered_model where name = which for no key update
$$;

CREATE FUNCTION winnow.param_same(stored text, given text) RETURNS boolean
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    AS $_$
  select case
    when stored = given then true
    when length(stored) > 100 or length(given) > 100 then false
    when stored ~ '^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d{1,3})?$' and given ~ '^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d{1,3})?$'
      then stored::numeric = given::numeric
    when lower(stored) in ('true', 'false') then lower(stored) = lower(given)
    when lower(stored) in ('none', 'null') then lower(given) in ('none', 'null')
    else false
  end
$_$;

CREATE FUNCTION winnow.params_order(spec text) RETURNS text
    LANGUAGE plpgsql IMMUTABLE
    AS $$
begin
  return (
    select coalesce(json_object_agg(p.name, case when strpos(substr(p.declared::text, 2), '{') > 0 then p.declared end order by p.place), '{}')
    from json_each(spec::json -> 'parameters') with ordinality p (name, declared, place));
exception when others then
  return null;
end
$$;

CREATE FUNCTION winnow.run_allow(executor text, attempt integer, pass integer) RETURNS boolean
    LANGUAGE plpgsql
    AS $$
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

CREATE FUNCTION winnow.run_descends(descendant uuid, ancestor uuid) RETURNS boolean
    LANGUAGE sql STABLE
    AS $_$
  with recursive line (id, step) as (
    select descendant, 0
    union all
    select case when r.tags ->> 'mlflow.parentRunId' ~ '^[0-9a-fA-F]{32}$' then (r.tags ->> 'mlflow.parentRunId')::uuid end, l.step + 1
    from line l join run r on r.id = l.id where l.id <> ancestor and l.step < 16)
  select exists (select from line where id = ancestor)
$_$;

CREATE FUNCTION winnow.run_index_metrics(most integer) RETURNS bigint
    LANGUAGE plpgsql
    AS $$
declare
  moved uuid[];
begin
  select array_agg(x.id) into moved
    from (select r.id from run_unindexed u join run r on r.id = u.run limit most for no key update of r skip locked) x;
  if moved is null then
    return 0;
  end if;
  insert into metric_key (name)
    select distinct m.key from run r cross join lateral jsonb_object_keys(r.metrics) m (key)
    where r.id = any(moved) and not exists (select from metric_key k where k.name = m.key)
    order by m.key on conflict do nothing;
  delete from run_metric where run = any(moved);
  insert into run_metric (value, run, experiment_id, key)
    select metric_value(m.value), r.id, r.experiment_id::int, k.id
    from run r cross join lateral jsonb_each_text(r.metrics) m join metric_key k on k.name = m.key
    where r.id = any(moved) order by r.id;
  delete from run_unindexed where run = any(moved);
  return cardinality(moved);
end
$$;

CREATE FUNCTION winnow.run_is_there(written boolean) RETURNS boolean
    LANGUAGE plpgsql
    AS $$
begin
  if not written then
    raise exception 'no such run' using errcode = 'WN404';
  end if;
  return true;
end
$$;

CREATE FUNCTION winnow.run_metrics_exceed(metrics jsonb, keys jsonb, most bigint) RETURNS boolean
    LANGUAGE plpgsql IMMUTABLE STRICT
    AS $$
begin
  if pg_column_size(metrics) + pg_column_size(keys) <= most then -- a metric is some bytes
    return false;
  end if;
  return (select count(*) > most from jsonb_object_keys(metrics || keys)) and not metrics ?& array(select jsonb_object_keys(keys));
end
$$;

CREATE FUNCTION winnow.run_purge(gone uuid, before bigint, files text) RETURNS boolean
    LANGUAGE plpgsql
    AS $$
begin
  perform from run r where r.id = gone and r.deleted_at <= before
    and not exists (select from sweep s where s.id in (r.id, r.sweep_id) and s.deleted_at is null and not s.single) for update;
  if not found then
    return false;
  end if;
  delete from metric_tail where run = gone;
  delete from metric_chunk where run = gone;
  delete from metric_tail where run = gone; -- and what it put together
  delete from run_metric where run = gone;
  delete from run_unindexed where run = gone;
  delete from log_piece where run = gone;
  delete from log_stream where run = gone;
  insert into doomed (path, job) values (files, gone);
  delete from run where id = gone;
  return true;
end
$$;

CREATE FUNCTION winnow.run_state_name(state smallint) RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    AS $$
  select (array['QUEUED', 'STARTING', 'RUNNING', 'STOPPING', 'FINISHED', 'FAILED', 'STOPPED', 'KILLED', 'LOST'])[state + 1]
$$;

CREATE FUNCTION winnow.run_status(state smallint) RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    AS $$
  select (array['SCHEDULED', 'SCHEDULED', 'RUNNING', 'RUNNING', 'FINISHED', 'FAILED', 'KILLED', 'KILLED', 'FAILED'])[state + 1]
$$;

CREATE FUNCTION winnow.run_takes(deleted_at bigint, executor text, attempt integer, pass integer, old jsonb, given jsonb) RETURNS boolean
    LANGUAGE plpgsql
    AS $$
begin
  if deleted_at is not null then
    raise exception 'the run is deleted' using errcode = 'WN410';
  end if;
  perform run_allow(executor, attempt, pass);
  if given <> '{}' and old <> '{}' and exists (
       select from jsonb_each_text(given) p where old ? p.key and not param_same(old ->> p.key, p.value)) then
    raise exception 'a param has another value' using errcode = 'WN409';
  end if;
  return true;
end
$$;

CREATE FUNCTION winnow.run_words_fit(words jsonb, old jsonb, refusal text) RETURNS jsonb
    LANGUAGE plpgsql
    AS $$
declare
  bytes constant int := pg_column_size(words);
begin
  if bytes <= 180000 then
    return words;
  end if;
  if (bytes > 33554432 and bytes > pg_column_size(old || '{}'))
      or (select count(*) > greatest(20000, (select count(*) from jsonb_object_keys(old))) from jsonb_object_keys(words)) then
    raise exception 'the run has too many params or tags' using errcode = refusal;
  end if;
  return words;
end
$$;

CREATE FUNCTION winnow.run_write_many(which uuid, params jsonb[], tags jsonb[], passes integer[], attempts integer[], points integer[], batches bytea[], keys jsonb[], most bigint) RETURNS TABLE(tail_id bigint, tail_attempt integer, tail_status smallint, refusal text)
    LANGUAGE plpgsql
    AS $$
declare
  was record;
  new_params jsonb := '{}';
  new_tags jsonb := '{}';
  is_wide boolean;
  refusals text[] := array_fill(null::text, array[cardinality(passes)]);
begin
  -- || '{}': unpacked once, not by each who looks
  select r.deleted_at, r.executor, r.attempt, r.params || '{}' as params, r.tags || '{}' as tags, r.metrics into was
  from run r where r.id = which for no key update;
  if not found then
    return query select 0::bigint, 0, 1::smallint, 'WN404' from unnest(passes);
    return;
  end if;
  is_wide := pg_column_size(was.params) + pg_column_size(was.tags)
    + (select sum(pg_column_size(t.words)) from unnest(params || tags) t (words)) > 180000;
  for i in 1 .. cardinality(passes) loop
    begin
      perform run_takes(was.deleted_at, was.executor, was.attempt, passes[i], was.params, params[i]),
        run_takes(was.deleted_at, was.executor, was.attempt, passes[i], new_params, params[i]);
      if points[i] > 0 and attempts[i] > 0 and attempts[i] <> was.attempt then
        raise exception 'the attempt is over' using errcode = 'WN412';
      end if;
      if points[i] > 0 and run_metrics_exceed(was.metrics, keys[i], most) then
        raise exception 'the run has too many metrics' using errcode = 'WN430';
      end if;
      if is_wide and params[i] <> '{}' then
        perform run_words_fit(params[i] || new_params || was.params, was.params, 'WN431');
      end if;
      if is_wide and jsonb_strip_nulls(tags[i]) <> '{}' then
        perform run_words_fit(jsonb_strip_nulls(was.tags || new_tags || tags[i]) - 'mlflow.runName', was.tags, 'WN432');
      end if;
      new_params := params[i] || new_params;
      new_tags := new_tags || case when tags[i] ->> 'mlflow.runName' = '' then tags[i] - 'mlflow.runName' else tags[i] end;
    exception when others then
      if sqlstate not like 'WN%' then
        raise;
      end if;
      refusals[i] := sqlstate;
    end;
  end loop;
  if new_params <> '{}' or new_tags <> '{}' then
    update run r set
      params = case when new_params = '{}' then r.params else new_params || r.params end,
      name = case when new_tags -> 'mlflow.runName' = 'null' then '' else coalesce(new_tags ->> 'mlflow.runName', r.name) end,
      tags = case when new_tags = '{}' then r.tags else jsonb_strip_nulls(r.tags || (new_tags - 'mlflow.runName')) end
    where r.id = which;
  end if;
  return query
    with given as (
      select t.place, t.points, t.data, t.refused, case when t.attempt <= 0 then was.attempt else t.attempt end as attempt,
        case when t.points > 0 and t.refused is null then nextval('metric_tail_id') end as id
      from unnest(attempts, points, batches, refusals) with ordinality t (attempt, points, data, refused, place)),
    added as (
      insert into metric_tail (run, id, attempt, points, data)
      select which, g.id, g.attempt, g.points, g.data from given g where g.id is not null)
    select coalesce(g.id, 0), g.attempt, case when g.refused is null then 0 else 5 end::smallint, g.refused from given g order by g.place;
end
$$;

CREATE FUNCTION winnow.spec_said(spec text, VARIADIC path text[]) RETURNS text
    LANGUAGE plpgsql IMMUTABLE
    AS $$
begin
  return spec::json #>> path;
exception when others then
  return null;
end
$$;

CREATE FUNCTION winnow.sweep_purge(gone uuid, before bigint) RETURNS boolean
    LANGUAGE plpgsql
    AS $$
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

CREATE FUNCTION winnow.uri_below(location text, rest text) RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    AS $$
  select case when location ~ '^[[:alpha:]][[:alnum:]+.-]*:.*[?#]' then regexp_replace(location, '/*(?=[?#])', '/' || rest)
    else rtrim(location, '/') || '/' || rest end
$$;

CREATE FUNCTION winnow.version_remove(which text, INOUT number integer, at bigint, who text, OUT kept text) RETURNS SETOF record
    LANGUAGE plpgsql
    AS $$
declare
  held bigint := model_lock(which);
begin
  update model_version v set deleted_at = at, updated = at where v.model = held and v.version = number and v.deleted_at is null
  returning v.kept_path into kept;
  if not found then
    return;
  end if;
  delete from model_alias a where a.model = held and a.version = number;
  update registered_model m set updated = at where m.id = held;
  insert into event (time, kind, actor, subject) values (at, 'model.deleted', who, which || '/' || number);
  return next;
end
$$;

CREATE FUNCTION winnow.version_to_stage(which text, number integer, to_stage smallint, archive_others boolean, at bigint, who text) RETURNS SETOF integer
    LANGUAGE plpgsql
    AS $$
declare
  held bigint := model_lock(which);
  names constant text[] := array['None', 'Staging', 'Production', 'Archived'];
  was smallint;
begin
  select v.stage into was from model_version v where v.model = held and v.version = number and v.deleted_at is null;
  if not found then
    return;
  end if;
  update model_version v set stage = to_stage, updated = at where v.model = held and v.version = number;
  if archive_others then
    with others as (
      update model_version v set stage = 3, updated = at
      where v.model = held and v.version <> number and v.stage = to_stage and v.deleted_at is null returning v.version)
    insert into event (time, kind, actor, subject, from_state, to_state)
    select at, 'model.stage', who, which || '/' || o.version, names[to_stage + 1], names[4] from others o order by o.version;
  end if;
  update registered_model m set updated = at where m.id = held;
  insert into event (time, kind, actor, subject, from_state, to_state)
  values (at, 'model.stage', who, which || '/' || number, names[was + 1], names[to_stage + 1]);
  return next number;
end
$$;

CREATE FUNCTION winnow.weight_of(value anyelement) RETURNS bigint
    LANGUAGE sql STABLE PARALLEL SAFE
    AS $$
  select coalesce(pg_column_size(value), 0)::bigint * case when pg_column_compression(value) is null then 1 else 8 end
$$;

CREATE TABLE winnow.artifact (
    path text NOT NULL COLLATE pg_catalog."C",
    size bigint NOT NULL,
    sha256 bytea NOT NULL,
    created bigint NOT NULL,
    CONSTRAINT artifact_sha256_check CHECK ((length(sha256) = 32))
);

CREATE TABLE winnow.artifact_coming (
    path text NOT NULL COLLATE pg_catalog."C",
    size bigint NOT NULL,
    sha256 bytea NOT NULL,
    created bigint NOT NULL,
    CONSTRAINT artifact_coming_sha256_check CHECK ((length(sha256) = 32))
);

CREATE TABLE winnow.dataset (
    id bigint NOT NULL,
    experiment_id bigint NOT NULL,
    name text NOT NULL,
    digest text NOT NULL,
    source_type text NOT NULL,
    source text NOT NULL,
    schema text,
    profile text
);

ALTER TABLE winnow.dataset ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME winnow.dataset_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE winnow.doomed (
    id bigint NOT NULL,
    path text,
    job uuid,
    if_empty boolean DEFAULT false NOT NULL
);

ALTER TABLE winnow.doomed ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME winnow.doomed_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE winnow.event (
    id bigint NOT NULL,
    "time" bigint NOT NULL,
    kind text NOT NULL,
    actor text NOT NULL,
    subject text NOT NULL,
    run uuid,
    from_state text,
    to_state text,
    reason text
);

ALTER TABLE winnow.event ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME winnow.event_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE winnow.experiment (
    id bigint NOT NULL,
    name text NOT NULL COLLATE pg_catalog."C",
    artifact_location text NOT NULL,
    created bigint NOT NULL,
    updated bigint NOT NULL,
    deleted_at bigint,
    tags jsonb DEFAULT '{}'::jsonb NOT NULL
);

CREATE SEQUENCE winnow.experiment_id
    START WITH 1
    INCREMENT BY 1
    MINVALUE 0
    NO MAXVALUE
    CACHE 1;

ALTER SEQUENCE winnow.experiment_id OWNED BY winnow.experiment.id;

CREATE TABLE winnow.idempotency (
    key bytea NOT NULL,
    request bytea NOT NULL,
    created bigint NOT NULL,
    status smallint,
    content_type text,
    answer bytea
);

CREATE TABLE winnow.log_file (
    run uuid NOT NULL,
    attempt integer NOT NULL,
    source smallint NOT NULL,
    path text NOT NULL,
    next bigint NOT NULL,
    state bytea NOT NULL
)
WITH (fillfactor='50');

CREATE TABLE winnow.log_piece (
    run uuid NOT NULL,
    attempt integer NOT NULL,
    stream smallint NOT NULL,
    start bigint NOT NULL,
    size integer NOT NULL,
    "time" bigint NOT NULL,
    lost bigint DEFAULT 0 NOT NULL,
    packed boolean NOT NULL,
    data bytea NOT NULL
)
WITH (autovacuum_vacuum_scale_factor='0.05');
ALTER TABLE ONLY winnow.log_piece ALTER COLUMN data SET STORAGE EXTERNAL;

CREATE TABLE winnow.log_stream (
    run uuid NOT NULL,
    attempt integer NOT NULL,
    stream smallint NOT NULL,
    next bigint DEFAULT 0 NOT NULL,
    state_at bigint DEFAULT 0 NOT NULL,
    state bytea,
    summary text,
    series integer DEFAULT 0 NOT NULL,
    keys text[] DEFAULT '{}'::text[] NOT NULL,
    sources text,
    points bigint DEFAULT 0 NOT NULL,
    mixed bigint DEFAULT 0 NOT NULL,
    lost bigint DEFAULT 0 NOT NULL
)
WITH (fillfactor='50');

CREATE TABLE winnow.logged_model (
    id uuid NOT NULL,
    experiment_id bigint NOT NULL,
    created bigint NOT NULL,
    updated bigint NOT NULL,
    deleted_at bigint,
    status smallint DEFAULT 1 NOT NULL,
    source_run text,
    name text NOT NULL,
    model_type text DEFAULT ''::text NOT NULL,
    status_message text,
    artifact_uri text,
    params jsonb DEFAULT '{}'::jsonb NOT NULL,
    tags jsonb DEFAULT '{}'::jsonb NOT NULL
);

CREATE TABLE winnow.logged_model_metric (
    model uuid NOT NULL,
    run uuid NOT NULL,
    step bigint NOT NULL,
    "time" bigint NOT NULL,
    value double precision NOT NULL,
    key text NOT NULL COLLATE pg_catalog."C",
    dataset_name text,
    dataset_digest text
);

CREATE TABLE winnow.model_version (
    model bigint NOT NULL,
    version integer NOT NULL,
    created bigint NOT NULL,
    updated bigint NOT NULL,
    deleted_at bigint,
    size bigint,
    stage smallint DEFAULT 0 NOT NULL,
    status smallint DEFAULT 3 NOT NULL,
    run_id text DEFAULT ''::text NOT NULL,
    model_id text DEFAULT ''::text NOT NULL,
    source text NOT NULL,
    storage_location text NOT NULL,
    kept_path text,
    description text DEFAULT ''::text NOT NULL,
    user_id text DEFAULT ''::text NOT NULL,
    run_link text DEFAULT ''::text NOT NULL,
    status_message text DEFAULT ''::text NOT NULL,
    digest bytea,
    tags jsonb DEFAULT '{}'::jsonb NOT NULL,
    metrics jsonb DEFAULT '{}'::jsonb NOT NULL,
    is_prompt boolean GENERATED ALWAYS AS (COALESCE((lower((tags ->> 'mlflow.prompt.is_prompt'::text)) = 'true'::text), false)) STORED,
    keep_from text
);

CREATE TABLE winnow.registered_model (
    id bigint NOT NULL,
    name text NOT NULL COLLATE pg_catalog."C",
    created bigint NOT NULL,
    updated bigint NOT NULL,
    last_version integer DEFAULT 0 NOT NULL,
    description text,
    tags jsonb DEFAULT '{}'::jsonb NOT NULL,
    is_prompt boolean GENERATED ALWAYS AS (COALESCE((lower((tags ->> 'mlflow.prompt.is_prompt'::text)) = 'true'::text), false)) STORED
);

CREATE VIEW winnow.logged_model_view AS
 SELECT m.id,
    m.experiment_id,
    m.created,
    m.updated,
    m.status,
    m.source_run,
    m.name,
    m.model_type,
    m.status_message,
    COALESCE(m.artifact_uri, winnow.uri_below(e.artifact_location, (('models/m-'::text || replace((m.id)::text, '-'::text, ''::text)) || '/artifacts'::text))) AS artifact_uri,
    m.params,
    m.tags,
    ( SELECT jsonb_agg(jsonb_strip_nulls(jsonb_build_object('key', x.key, 'value', x.value, 'timestamp', x."time", 'step', x.step, 'model_id', ('m-'::text || replace((x.model)::text, '-'::text, ''::text)), 'run_id', replace((x.run)::text, '-'::text, ''::text), 'dataset_name', x.dataset_name, 'dataset_digest', x.dataset_digest)) ORDER BY x."time", x.step, x.key) AS jsonb_agg
           FROM winnow.logged_model_metric x
          WHERE (x.model = m.id)) AS metrics,
    ( SELECT jsonb_agg(jsonb_build_object('name', r.name, 'version', (v.version)::text) ORDER BY r.name, v.version) AS jsonb_agg
           FROM (winnow.model_version v
             JOIN winnow.registered_model r ON ((r.id = v.model)))
          WHERE ((v.model_id = ('m-'::text || replace((m.id)::text, '-'::text, ''::text))) AND (v.model_id <> ''::text) AND (v.deleted_at IS NULL))) AS registrations
   FROM (winnow.logged_model m
     JOIN winnow.experiment e ON ((e.id = m.experiment_id)))
  WHERE (m.deleted_at IS NULL);

CREATE TABLE winnow.metric_chunk (
    run uuid NOT NULL,
    key integer NOT NULL,
    id bigint NOT NULL,
    attempt integer NOT NULL,
    points integer NOT NULL,
    nans integer NOT NULL,
    first_step bigint NOT NULL,
    first_time bigint NOT NULL,
    last_step bigint NOT NULL,
    last_time bigint NOT NULL,
    low_time bigint NOT NULL,
    high_time bigint NOT NULL,
    min_step bigint NOT NULL,
    max_step bigint NOT NULL,
    first double precision NOT NULL,
    last double precision NOT NULL,
    min double precision NOT NULL,
    max double precision NOT NULL,
    step_coarse bytea,
    time_coarse bytea,
    step_fine bytea,
    time_fine bytea,
    data bytea NOT NULL
)
WITH (toast_tuple_target='8160');
ALTER TABLE ONLY winnow.metric_chunk ALTER COLUMN step_coarse SET STORAGE MAIN;
ALTER TABLE ONLY winnow.metric_chunk ALTER COLUMN time_coarse SET STORAGE MAIN;
ALTER TABLE ONLY winnow.metric_chunk ALTER COLUMN step_fine SET STORAGE MAIN;
ALTER TABLE ONLY winnow.metric_chunk ALTER COLUMN time_fine SET STORAGE MAIN;
ALTER TABLE ONLY winnow.metric_chunk ALTER COLUMN data SET STORAGE EXTERNAL;

ALTER TABLE winnow.metric_chunk ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME winnow.metric_chunk_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE winnow.metric_key (
    id integer NOT NULL,
    name text NOT NULL COLLATE pg_catalog."C"
);

ALTER TABLE winnow.metric_key ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME winnow.metric_key_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE winnow.metric_mark (
    id bigint NOT NULL
);

CREATE TABLE winnow.metric_tail (
    run uuid NOT NULL,
    id bigint NOT NULL,
    attempt integer NOT NULL,
    points integer NOT NULL,
    fresh boolean DEFAULT true NOT NULL,
    data bytea NOT NULL
)
WITH (autovacuum_vacuum_scale_factor='0.05', autovacuum_vacuum_cost_delay='0', toast.autovacuum_vacuum_scale_factor='0.05', toast.autovacuum_vacuum_cost_delay='0');
ALTER TABLE ONLY winnow.metric_tail ALTER COLUMN data SET STORAGE EXTERNAL;

CREATE SEQUENCE winnow.metric_tail_id
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;

CREATE TABLE winnow.migration (
    name text NOT NULL,
    sha256 text NOT NULL,
    winnow text NOT NULL,
    applied timestamp with time zone DEFAULT now() NOT NULL
);

CREATE TABLE winnow.model_alias (
    model bigint NOT NULL,
    alias text NOT NULL,
    version integer NOT NULL
);

CREATE TABLE winnow.model_gone (
    name text NOT NULL,
    created bigint NOT NULL,
    last_version integer NOT NULL,
    last_event bigint NOT NULL
);

CREATE TABLE winnow.run (
    id uuid NOT NULL,
    experiment_id bigint NOT NULL,
    start_time bigint DEFAULT 0 NOT NULL,
    created bigint NOT NULL,
    end_time bigint,
    deleted_at bigint,
    heartbeat bigint,
    attempt integer DEFAULT 1 NOT NULL,
    state smallint NOT NULL,
    kind smallint DEFAULT 0 NOT NULL,
    has_links boolean DEFAULT false NOT NULL,
    slots smallint,
    exit_code integer,
    signal integer,
    trial integer,
    sweep_id uuid,
    value double precision,
    value_step bigint,
    best_value double precision,
    name text NOT NULL,
    user_id text DEFAULT ''::text NOT NULL,
    artifact_uri text,
    executor text,
    node text,
    worker text,
    state_reason text,
    command jsonb,
    stop jsonb,
    params jsonb DEFAULT '{}'::jsonb NOT NULL,
    tags jsonb DEFAULT '{}'::jsonb NOT NULL,
    metrics jsonb DEFAULT '{}'::jsonb NOT NULL,
    version bigint DEFAULT 0 NOT NULL,
    cause smallint DEFAULT 0 NOT NULL,
    dead boolean DEFAULT false NOT NULL,
    retries integer DEFAULT 0 NOT NULL,
    told integer,
    point jsonb,
    lease_ms bigint,
    coords bytea,
    made_by smallint,
    made_tells integer,
    made_pending integer,
    at_tells integer,
    held boolean DEFAULT false NOT NULL,
    queue_priority bigint,
    queue_since bigint,
    made_reports bigint,
    last_value double precision,
    last_step bigint
)
WITH (fillfactor='85', autovacuum_vacuum_scale_factor='0.05');

CREATE VIEW winnow.model_version_view AS
 SELECT m.name,
    v.version,
    v.created,
    v.updated,
    v.stage,
    v.status,
    v.run_id,
    v.model_id,
    v.source,
    v.storage_location,
    v.kept_path,
    v.description,
    v.user_id,
    v.run_link,
    v.status_message,
    v.size,
    v.digest,
    v.tags,
    v.metrics,
    ( SELECT array_agg(a.alias ORDER BY a.alias) AS array_agg
           FROM winnow.model_alias a
          WHERE ((a.model = v.model) AND (a.version = v.version))) AS aliases,
    v.model AS model_key,
    ( SELECT r.sweep_id
           FROM winnow.run r
          WHERE (r.id =
                CASE
                    WHEN (v.run_id ~ '^[0-9a-f]{32}$'::text) THEN (v.run_id)::uuid
                    ELSE NULL::uuid
                END)) AS sweep_id
   FROM (winnow.model_version v
     JOIN winnow.registered_model m ON ((m.id = v.model)))
  WHERE (v.deleted_at IS NULL);

CREATE TABLE winnow.node (
    name text NOT NULL,
    drained boolean NOT NULL,
    reason text,
    changed bigint NOT NULL,
    actor text NOT NULL
);

ALTER TABLE winnow.registered_model ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME winnow.registered_model_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE winnow.report (
    sweep uuid NOT NULL,
    n bigint NOT NULL,
    trial integer NOT NULL,
    attempt integer NOT NULL,
    step bigint NOT NULL,
    value double precision NOT NULL,
    epoch double precision,
    key text NOT NULL,
    source bigint
);

CREATE TABLE winnow.run_attempt (
    run uuid NOT NULL,
    attempt integer NOT NULL,
    state smallint NOT NULL,
    reason text,
    exit_code integer,
    signal integer,
    node text,
    started bigint,
    ended bigint
);

CREATE TABLE winnow.run_dataset (
    run uuid NOT NULL,
    dataset bigint NOT NULL,
    "position" bigint NOT NULL,
    tags jsonb DEFAULT '{}'::jsonb NOT NULL
);

ALTER TABLE winnow.run_dataset ALTER COLUMN "position" ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME winnow.run_dataset_position_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE winnow.run_first_end (
    run uuid NOT NULL,
    state smallint NOT NULL,
    value double precision,
    value_step bigint NOT NULL,
    reports bigint NOT NULL
);

CREATE TABLE winnow.run_metric (
    value double precision NOT NULL,
    run uuid NOT NULL,
    experiment_id integer NOT NULL,
    key integer NOT NULL
);

CREATE TABLE winnow.run_model (
    run uuid NOT NULL,
    model uuid NOT NULL,
    made boolean NOT NULL,
    step bigint DEFAULT 0 NOT NULL,
    "position" bigint NOT NULL
);

ALTER TABLE winnow.run_model ALTER COLUMN "position" ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME winnow.run_model_position_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE winnow.run_unindexed (
    run uuid NOT NULL
);

CREATE VIEW winnow.run_view AS
 SELECT r.id,
    r.experiment_id,
    r.start_time,
    r.created,
    r.end_time,
    r.deleted_at,
    r.heartbeat,
    r.attempt,
    r.state,
    r.kind,
    r.has_links,
    r.slots,
    r.exit_code,
    r.signal,
    r.trial,
    r.sweep_id,
    r.name,
    r.user_id,
    COALESCE(r.artifact_uri, winnow.uri_below(e.artifact_location, (replace((r.id)::text, '-'::text, ''::text) || '/artifacts'::text))) AS artifact_uri,
    r.executor,
    r.node,
    r.state_reason,
    r.command,
    r.params,
    r.tags,
    r.metrics,
        CASE
            WHEN r.has_links THEN ( SELECT jsonb_agg(jsonb_strip_nulls(jsonb_build_object('tags', ( SELECT jsonb_agg(jsonb_build_object('key', t.key, 'value', t.value)) AS jsonb_agg
                       FROM jsonb_each_text(x.tags) t(key, value)), 'dataset', jsonb_build_object('name', d.name, 'digest', d.digest, 'source_type', d.source_type, 'source', d.source, 'schema', d.schema, 'profile', d.profile))) ORDER BY x."position") AS jsonb_agg
               FROM (winnow.run_dataset x
                 JOIN winnow.dataset d ON ((d.id = x.dataset)))
              WHERE (x.run = r.id))
            ELSE NULL::jsonb
        END AS dataset_inputs,
        CASE
            WHEN r.has_links THEN ( SELECT jsonb_agg(jsonb_build_object('model_id', ('m-'::text || replace((x.model)::text, '-'::text, ''::text))) ORDER BY x."position") AS jsonb_agg
               FROM winnow.run_model x
              WHERE ((x.run = r.id) AND (NOT x.made)))
            ELSE NULL::jsonb
        END AS model_inputs,
        CASE
            WHEN r.has_links THEN ( SELECT jsonb_agg(jsonb_build_object('model_id', ('m-'::text || replace((x.model)::text, '-'::text, ''::text)), 'step', x.step) ORDER BY x."position") AS jsonb_agg
               FROM winnow.run_model x
              WHERE ((x.run = r.id) AND x.made))
            ELSE NULL::jsonb
        END AS model_outputs
   FROM (winnow.run r
     JOIN winnow.experiment e ON ((e.id = r.experiment_id)));

CREATE TABLE winnow.service_epoch (
    epoch bigint NOT NULL,
    host text NOT NULL,
    pid integer NOT NULL,
    data_dir text NOT NULL,
    started timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    ended timestamp with time zone
);

ALTER TABLE winnow.service_epoch ALTER COLUMN epoch ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME winnow.service_epoch_epoch_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE winnow.sweep (
    id uuid NOT NULL,
    experiment_id bigint NOT NULL,
    created bigint NOT NULL,
    ended bigint,
    deleted_at bigint,
    version bigint NOT NULL,
    elapsed_ms bigint DEFAULT 0 NOT NULL,
    slot_ms bigint DEFAULT 0 NOT NULL,
    seed bigint NOT NULL,
    state smallint DEFAULT 0 NOT NULL,
    why smallint DEFAULT 0 NOT NULL,
    exhausted boolean DEFAULT false NOT NULL,
    name text NOT NULL,
    directory text NOT NULL,
    source text NOT NULL,
    spec text NOT NULL,
    edits jsonb DEFAULT '{}'::jsonb NOT NULL,
    warnings jsonb DEFAULT '[]'::jsonb NOT NULL,
    summary jsonb,
    prior bytea,
    single boolean DEFAULT false NOT NULL,
    params_order text GENERATED ALWAYS AS (winnow.params_order(spec)) STORED,
    metrics_from text GENERATED ALWAYS AS (winnow.spec_said(spec, VARIADIC ARRAY['metrics_from'::text])) STORED,
    metric_name text GENERATED ALWAYS AS (winnow.spec_said(spec, VARIADIC ARRAY['metric'::text, 'name'::text])) STORED,
    metric_goal text GENERATED ALWAYS AS (winnow.spec_said(spec, VARIADIC ARRAY['metric'::text, 'goal'::text])) STORED
)
WITH (fillfactor='80');

CREATE TABLE winnow.sweep_register (
    sweep uuid NOT NULL,
    done boolean DEFAULT false NOT NULL
);

CREATE TABLE winnow.sweep_version (
    sweep uuid NOT NULL,
    run uuid NOT NULL,
    model text NOT NULL,
    version integer NOT NULL,
    kept boolean DEFAULT false NOT NULL
);

CREATE TABLE winnow.token (
    id uuid NOT NULL,
    name text NOT NULL,
    hash bytea NOT NULL,
    scopes text[] NOT NULL,
    created timestamp with time zone DEFAULT now() NOT NULL,
    expires timestamp with time zone,
    revoked timestamp with time zone,
    last_used timestamp with time zone,
    parent uuid,
    CONSTRAINT token_hash_check CHECK ((length(hash) = 32))
);

ALTER TABLE ONLY winnow.artifact_coming
    ADD CONSTRAINT artifact_coming_pkey PRIMARY KEY (path);

ALTER TABLE ONLY winnow.artifact
    ADD CONSTRAINT artifact_pkey PRIMARY KEY (path);

ALTER TABLE ONLY winnow.dataset
    ADD CONSTRAINT dataset_experiment_id_name_digest_key UNIQUE (experiment_id, name, digest);

ALTER TABLE ONLY winnow.dataset
    ADD CONSTRAINT dataset_pkey PRIMARY KEY (id);

ALTER TABLE ONLY winnow.doomed
    ADD CONSTRAINT doomed_pkey PRIMARY KEY (id);

ALTER TABLE ONLY winnow.event
    ADD CONSTRAINT event_pkey PRIMARY KEY (id);

ALTER TABLE ONLY winnow.experiment
    ADD CONSTRAINT experiment_name_key UNIQUE (name);

ALTER TABLE ONLY winnow.experiment
    ADD CONSTRAINT experiment_pkey PRIMARY KEY (id);

ALTER TABLE ONLY winnow.idempotency
    ADD CONSTRAINT idempotency_pkey PRIMARY KEY (key);

ALTER TABLE ONLY winnow.log_file
    ADD CONSTRAINT log_file_pkey PRIMARY KEY (run, attempt, source, path);

ALTER TABLE ONLY winnow.log_piece
    ADD CONSTRAINT log_piece_pkey PRIMARY KEY (run, attempt, stream, start);

ALTER TABLE ONLY winnow.log_stream
    ADD CONSTRAINT log_stream_pkey PRIMARY KEY (run, attempt, stream);

ALTER TABLE ONLY winnow.logged_model_metric
    ADD CONSTRAINT logged_model_metric_pkey PRIMARY KEY (model, key, "time", step, run);

ALTER TABLE ONLY winnow.logged_model
    ADD CONSTRAINT logged_model_pkey PRIMARY KEY (id);

ALTER TABLE ONLY winnow.metric_chunk
    ADD CONSTRAINT metric_chunk_pkey PRIMARY KEY (run, key, id);

ALTER TABLE ONLY winnow.metric_key
    ADD CONSTRAINT metric_key_name_key UNIQUE (name);

ALTER TABLE ONLY winnow.metric_key
    ADD CONSTRAINT metric_key_pkey PRIMARY KEY (id);

ALTER TABLE ONLY winnow.metric_tail
    ADD CONSTRAINT metric_tail_pkey PRIMARY KEY (run, id);

ALTER TABLE ONLY winnow.migration
    ADD CONSTRAINT migration_pkey PRIMARY KEY (name);

ALTER TABLE ONLY winnow.model_alias
    ADD CONSTRAINT model_alias_pkey PRIMARY KEY (model, alias);

ALTER TABLE ONLY winnow.model_version
    ADD CONSTRAINT model_version_pkey PRIMARY KEY (model, version);

ALTER TABLE ONLY winnow.node
    ADD CONSTRAINT node_pkey PRIMARY KEY (name);

ALTER TABLE ONLY winnow.registered_model
    ADD CONSTRAINT registered_model_name_key UNIQUE (name);

ALTER TABLE ONLY winnow.registered_model
    ADD CONSTRAINT registered_model_pkey PRIMARY KEY (id);

ALTER TABLE ONLY winnow.report
    ADD CONSTRAINT report_pkey PRIMARY KEY (sweep, n);

ALTER TABLE ONLY winnow.run_attempt
    ADD CONSTRAINT run_attempt_pkey PRIMARY KEY (run, attempt);

ALTER TABLE ONLY winnow.run_dataset
    ADD CONSTRAINT run_dataset_pkey PRIMARY KEY (run, dataset);

ALTER TABLE ONLY winnow.run_first_end
    ADD CONSTRAINT run_first_end_pkey PRIMARY KEY (run);

ALTER TABLE ONLY winnow.run_model
    ADD CONSTRAINT run_model_pkey PRIMARY KEY (run, model, made, step);

ALTER TABLE ONLY winnow.run
    ADD CONSTRAINT run_pkey PRIMARY KEY (id);

ALTER TABLE ONLY winnow.run_unindexed
    ADD CONSTRAINT run_unindexed_pkey PRIMARY KEY (run);

ALTER TABLE ONLY winnow.service_epoch
    ADD CONSTRAINT service_epoch_pkey PRIMARY KEY (epoch);

ALTER TABLE ONLY winnow.sweep
    ADD CONSTRAINT sweep_pkey PRIMARY KEY (id);

ALTER TABLE ONLY winnow.sweep_register
    ADD CONSTRAINT sweep_register_pkey PRIMARY KEY (sweep);

ALTER TABLE ONLY winnow.sweep_version
    ADD CONSTRAINT sweep_version_pkey PRIMARY KEY (sweep, run);

ALTER TABLE ONLY winnow.token
    ADD CONSTRAINT token_hash_key UNIQUE (hash);

ALTER TABLE ONLY winnow.token
    ADD CONSTRAINT token_pkey PRIMARY KEY (id);

CREATE INDEX event_by_run ON winnow.event USING btree (run, id) WHERE (run IS NOT NULL);

CREATE INDEX event_by_subject ON winnow.event USING btree (subject, id) WHERE (run IS NULL);

CREATE INDEX idempotency_by_created ON winnow.idempotency USING btree (created);

CREATE INDEX logged_model_by_created ON winnow.logged_model USING btree (experiment_id, created DESC, id);

CREATE INDEX logged_model_by_run ON winnow.logged_model USING btree (source_run) WHERE (source_run IS NOT NULL);

CREATE INDEX metric_chunk_by_step ON winnow.metric_chunk USING btree (run, key, last_step);

CREATE INDEX metric_tail_by_id ON winnow.metric_tail USING brin (id) WITH (pages_per_range='16');

CREATE INDEX model_gone_by_name ON winnow.model_gone USING btree (name);

CREATE INDEX model_version_by_kept ON winnow.model_version USING btree (kept_path) WHERE (kept_path IS NOT NULL);

CREATE INDEX model_version_by_model ON winnow.model_version USING btree (model_id) WHERE (model_id <> ''::text);

CREATE INDEX model_version_by_run ON winnow.model_version USING btree (run_id) WHERE (run_id <> ''::text);

CREATE INDEX model_version_to_keep ON winnow.model_version USING btree (model, version) WHERE ((keep_from IS NOT NULL) AND (deleted_at IS NULL));

CREATE INDEX run_by_deleted ON winnow.run USING btree (deleted_at, id) WHERE (deleted_at IS NOT NULL);

CREATE INDEX run_by_start ON winnow.run USING btree (experiment_id, start_time, id DESC);

CREATE UNIQUE INDEX run_by_trial ON winnow.run USING btree (sweep_id, trial) WHERE (sweep_id IS NOT NULL);

CREATE INDEX run_dataset_by_dataset ON winnow.run_dataset USING btree (dataset);

CREATE INDEX run_metric_by_run ON winnow.run_metric USING btree (run);

CREATE INDEX run_metric_by_value ON winnow.run_metric USING btree (experiment_id, key, value);

CREATE INDEX run_unlisted ON winnow.run USING btree (experiment_id, kind) WHERE ((kind = 1) OR (deleted_at IS NOT NULL));

CREATE INDEX run_words ON winnow.run USING gin (params jsonb_path_ops, tags jsonb_path_ops) WITH (fastupdate='on', gin_pending_list_limit='65536');

CREATE INDEX sweep_by_created ON winnow.sweep USING btree (created DESC, id);

CREATE INDEX sweep_live ON winnow.sweep USING btree (id) WHERE (state < 3);

CREATE INDEX sweep_register_open ON winnow.sweep_register USING btree (sweep) WHERE (NOT done);

ALTER TABLE ONLY winnow.dataset
    ADD CONSTRAINT dataset_experiment_id_fkey FOREIGN KEY (experiment_id) REFERENCES winnow.experiment(id) ON DELETE CASCADE;

ALTER TABLE ONLY winnow.event
    ADD CONSTRAINT event_run_fkey FOREIGN KEY (run) REFERENCES winnow.run(id) ON DELETE CASCADE;

ALTER TABLE ONLY winnow.logged_model
    ADD CONSTRAINT logged_model_experiment_id_fkey FOREIGN KEY (experiment_id) REFERENCES winnow.experiment(id);

ALTER TABLE ONLY winnow.logged_model_metric
    ADD CONSTRAINT logged_model_metric_model_fkey FOREIGN KEY (model) REFERENCES winnow.logged_model(id) ON DELETE CASCADE;

ALTER TABLE ONLY winnow.model_alias
    ADD CONSTRAINT model_alias_model_fkey FOREIGN KEY (model) REFERENCES winnow.registered_model(id) ON DELETE CASCADE;

ALTER TABLE ONLY winnow.model_alias
    ADD CONSTRAINT model_alias_model_version_fkey FOREIGN KEY (model, version) REFERENCES winnow.model_version(model, version) ON DELETE CASCADE;

ALTER TABLE ONLY winnow.model_version
    ADD CONSTRAINT model_version_model_fkey FOREIGN KEY (model) REFERENCES winnow.registered_model(id) ON DELETE CASCADE;

ALTER TABLE ONLY winnow.run_attempt
    ADD CONSTRAINT run_attempt_run_fkey FOREIGN KEY (run) REFERENCES winnow.run(id) ON DELETE CASCADE;

ALTER TABLE ONLY winnow.run_dataset
    ADD CONSTRAINT run_dataset_dataset_fkey FOREIGN KEY (dataset) REFERENCES winnow.dataset(id);

ALTER TABLE ONLY winnow.run_dataset
    ADD CONSTRAINT run_dataset_run_fkey FOREIGN KEY (run) REFERENCES winnow.run(id) ON DELETE CASCADE;

ALTER TABLE ONLY winnow.run_first_end
    ADD CONSTRAINT run_first_end_run_fkey FOREIGN KEY (run) REFERENCES winnow.run(id) ON DELETE CASCADE;

ALTER TABLE ONLY winnow.run_model
    ADD CONSTRAINT run_model_run_fkey FOREIGN KEY (run) REFERENCES winnow.run(id) ON DELETE CASCADE;

ALTER TABLE ONLY winnow.sweep_register
    ADD CONSTRAINT sweep_register_sweep_fkey FOREIGN KEY (sweep) REFERENCES winnow.sweep(id) ON DELETE CASCADE;

ALTER TABLE ONLY winnow.sweep_version
    ADD CONSTRAINT sweep_version_sweep_fkey FOREIGN KEY (sweep) REFERENCES winnow.sweep(id) ON DELETE CASCADE;
