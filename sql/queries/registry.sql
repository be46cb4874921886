-- The registry. A registered model: name, created, updated, description, tags, aliases as {"alias": version}.
-- A version has the columns of model_version_view, in its order: name, version, created, updated, stage, status, run, logged model, source,
-- storage location, kept path, description, user, run link, status message, size, digest, tags, metrics, aliases, the model's key, and the sweep
-- that the run is a trial of.

-- name: model_create (text, int8, text, jsonb) -> (int8)
-- Name, now, description, tags. No row: the name is taken.
insert into registered_model (name, created, updated, description, tags) values ($1, $2, $2, $3, $4) on conflict (name) do nothing returning id;

-- name: model_make (text, int8) -> () repeatable
-- Name, now: makes it when it is not there.
insert into registered_model (name, created, updated) values ($1, $2, $2) on conflict (name) do nothing;

-- name: model_get (text) -> (text, int8, int8, text, jsonb, jsonb, int4) repeatable
select m.name, m.created, m.updated, m.description, m.tags,
  (select jsonb_object_agg(a.alias, a.version) from model_alias a where a.model = m.id),
  (select max(v.version) from model_version v where v.model = m.id and v.deleted_at is null)
from registered_model m where m.name = $1;

-- name: model_latest (text[])
--   -> (text, int4, int8, int8, int2, int2, text, text, text, text, text, text, text, text, text, int8, bytea, jsonb, jsonb, text[], int8, uuid)
--   repeatable
-- The newest version of each stage of these models, without its metrics, which MLflow does not show.
select distinct on (v.name, v.stage) v.name, v.version, v.created, v.updated, v.stage, v.status, v.run_id, v.model_id, v.source, v.storage_location,
  v.kept_path, v.description, v.user_id, v.run_link, v.status_message, v.size, v.digest, v.tags, null::jsonb, v.aliases, v.model_key, v.sweep_id
from model_version_view v where v.name = any($1) order by v.name, v.stage, v.version desc;

-- name: model_search (text, text[], int8[], float8[], uuid[]) -> (text, int8, int8, text, jsonb, jsonb, int4, text[]) repeatable
select m.name, m.created, m.updated, m.description, m.tags,
  (select jsonb_object_agg(a.alias, a.version) from model_alias a where a.model = m.id),
  (select max(v.version) from model_version v where v.model = m.id and v.deleted_at is null), f.page_key
from find_rows($1, $2, $3, $4, $5) with ordinality f (id, n, v, page_key, place) join registered_model m on m.id = f.n
order by f.place;

-- name: model_page (text, text[], int8[], float8[], uuid[], int8)
--   -> (text, int8, int8, text, jsonb, jsonb, int4, text[], bool, uuid, int8, int4) repeatable
-- In one piece: as run_page.
select p.name, p.created, p.updated, case when p.fits then p.description end, case when p.fits then p.tags end,
  (select jsonb_object_agg(a.alias, a.version) from model_alias a where a.model = p.n and p.fits),
  (select max(v.version) from model_version v where v.model = p.n and v.deleted_at is null), p.page_key, p.fits, p.id, p.n, p.v
from (
  select f.*, m.name, m.created, m.updated, m.description, m.tags, sum(weight_of(m.description) + weight_of(m.tags) +
    coalesce((select sum(64 + pg_column_size(a.alias)) from model_alias a where a.model = f.n), 0))
    over (order by f.place rows unbounded preceding) <= $6 as fits
  from find_rows($1, $2, $3, $4, $5) with ordinality f (id, n, v, page_key, place)
  cross join lateral (select * from registered_model x where x.id = f.n offset 0) m) p
order by p.place;

-- name: model_rename (text, text, int8, text) -> (int8)
-- From, to, now, who. With its versions and what happened to them. A taken name is refused by registered_model_name_key.
with m as (update registered_model set name = $2, updated = $3 where name = $1 returning id, created, last_version),
versions as (update model_version v set updated = $3 from m where v.model = m.id and v.deleted_at is null returning 1),
carried as (
  update event e set subject = $2 || substr(e.subject, length($1) + 1) from m
  where e.run is null and e.time >= m.created and e.subject in (select $1 || '/' || v from generate_series(1, m.last_version) v union all select $1) and e.kind like 'model.%'),
told as (
  insert into event (time, kind, actor, subject, from_state, to_state) select $3, 'model.renamed', $4, $2, $1, $2 from m)
select id from m;

-- name: model_describe (text, text, int8) -> (int8)
update registered_model set description = $2, updated = $3 where name = $1 returning id;

-- name: model_delete (text, int8, text) -> (int8)
-- Name, now, who. What happened to it can still be read.
with m as (delete from registered_model where name = $1 returning id, name, created, last_version),
told as (insert into event (time, kind, actor, subject) select $2, 'model.deleted', $3, name from m returning id),
gone as (insert into model_gone (name, created, last_version, last_event) select m.name, m.created, m.last_version, t.id from m, told t)
select id from m;

-- name: model_set_tags (text, jsonb) -> (int8) repeatable
update registered_model set tags = tags || $2 where name = $1 returning id;

-- name: model_delete_tag (text, text) -> (int8) repeatable
update registered_model set tags = tags - $2 where name = $1 returning id;

-- name: version_create (text, int8, text, text, text, text, text, text, jsonb, text, text) -> (int4, int8)
-- Model, now, source, storage location, run, logged model, description, run link, tags, user, where the files lie that are yet to be kept (null:
-- not in our store). Its number and the model's key; no row: there is no such model. The model's row is the lock that makes numbers gapless.
with m as (update registered_model set last_version = last_version + 1, updated = $2 where name = $1 returning id, last_version),
made as (
  insert into model_version (model, version, created, updated, source, storage_location, run_id, model_id, description, run_link, tags, user_id, keep_from,
    metrics)
  select m.id, m.last_version, $2, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11,
    coalesce((select r.metrics from run r where $5 ~ '^[0-9a-f]{32}$' and r.id = case when $5 ~ '^[0-9a-f]{32}$' then $5::uuid end), '{}')
  from m returning 1)
select m.last_version, m.id from m, made;

-- name: version_get (text, int4)
--   -> (text, int4, int8, int8, int2, int2, text, text, text, text, text, text, text, text, text, int8, bytea, jsonb, jsonb, text[], int8, uuid)
--   repeatable
select * from model_version_view where name = $1 and version = $2;

-- name: version_of_model (int8, int4)
--   -> (text, int4, int8, int8, int2, int2, text, text, text, text, text, text, text, text, text, int8, bytea, jsonb, jsonb, text[], int8, uuid)
--   repeatable
-- By the model's key, which stays when its name changes.
select * from model_version_view where model_key = $1 and version = $2;

-- name: version_newest (text)
--   -> (text, int4, int8, int8, int2, int2, text, text, text, text, text, text, text, text, text, int8, bytea, jsonb, jsonb, text[], int8, uuid)
--   repeatable
select * from model_version_view where name = $1 order by version desc limit 1;

-- name: version_by_alias (text, text)
--   -> (text, int4, int8, int8, int2, int2, text, text, text, text, text, text, text, text, text, int8, bytea, jsonb, jsonb, text[], int8, uuid)
--   repeatable
select v.* from registered_model m join model_alias a on a.model = m.id and a.alias = $2
join model_version_view v on v.model_key = m.id and v.version = a.version
where m.name = $1;

-- name: version_search (text, text[], int8[], float8[], uuid[])
--   -> (text, int4, int8, int8, int2, int2, text, text, text, text, text, text, text, text, text, int8, bytea, jsonb, jsonb, text[], int8,
--       uuid, text[]) repeatable
select v.*, f.page_key
from find_rows($1, $2, $3, $4, $5) with ordinality f (id, n, v, page_key, place)
cross join lateral (select * from model_version_view x where x.model_key = f.n and x.version = f.v offset 0) v
order by f.place;

-- name: version_page (text, text[], int8[], float8[], uuid[], int8)
--   -> (text, int4, int8, int8, int2, int2, text, text, text, text, text, text, text, text, text, int8, bytea, jsonb, jsonb, text[], int8,
--       uuid, text[], bool, uuid, int8, int4) repeatable
-- In one piece: as run_page.
select p.name, p.version, p.created, p.updated, p.stage, p.status, p.run_id, p.model_id, p.source, p.storage_location, p.kept_path,
  case when p.fits then p.description end, p.user_id, p.run_link, p.status_message, p.size, p.digest, case when p.fits then p.tags end,
  case when p.fits then p.metrics end, p.aliases, p.model_key, p.sweep_id, p.page_key, p.fits, p.id, p.n, p.v
from (
  select r.*, f.*, sum(weight_of(r.description) + weight_of(r.tags) + weight_of(r.metrics))
    over (order by f.place rows unbounded preceding) <= $6 as fits
  from find_rows($1, $2, $3, $4, $5) with ordinality f (id, n, v, page_key, place)
  cross join lateral (select * from model_version_view x where x.model_key = f.n and x.version = f.v offset 0) r) p
order by p.place;

-- name: version_describe (text, int4, text, int8) -> (int4)
-- The model itself stays as old as it is.
update model_version x set description = $3, updated = $4 from registered_model m
where x.model = m.id and m.name = $1 and x.version = $2 and x.deleted_at is null returning x.version;

-- name: version_stage (text, int4, int2, bool, int8, text) -> (int4)
-- Model, version, stage, whether the others of that stage are archived, now, who.
select version_to_stage($1, $2, $3, $4, $5, $6);

-- name: version_delete (text, int4, int8, text) -> (int4, text)
-- The number stays taken; where our own copy lies is told, for whoever removes it.
select number, kept from version_remove($1, $2, $3, $4);

-- name: version_set_tags (text, int4, jsonb) -> (int4) repeatable
update model_version x set tags = x.tags || $3 from registered_model m
where x.model = m.id and m.name = $1 and x.version = $2 and x.deleted_at is null returning x.version;

-- name: version_delete_tag (text, int4, text) -> (int4) repeatable
update model_version x set tags = x.tags - $3 from registered_model m
where x.model = m.id and m.name = $1 and x.version = $2 and x.deleted_at is null returning x.version;

-- name: version_keep (int8, int4, text, int8, bytea, text) -> (int4) repeatable
-- Our own copy: model's key, version, path, size, digest, the file's name when it is one. From now on it is what everyone gets.
update model_version set kept_path = $3, size = $4, digest = $5, storage_location = 'mlflow-artifacts:/' || $3 || coalesce('/' || $6, ''), keep_from = null
where model = $1 and version = $2 and deleted_at is null returning version;

-- name: version_keep_none (int8, int4) -> () repeatable
-- There is nothing to keep, and it is not looked for again.
update model_version set keep_from = null where model = $1 and version = $2;

-- name: version_to_keep (int8, int4, int8) -> (int8, int4, text, text) repeatable
-- The next one after (model's key, version), made before $3, whose copy is yet to be made: these two, the model's name, where its files lie.
select v.model, v.version, m.name, v.keep_from from model_version v join registered_model m on m.id = v.model
where (v.model, v.version) > ($1, $2) and v.keep_from is not null and v.deleted_at is null and v.created < $3
order by v.model, v.version limit 1;

-- name: version_owed (int8, int4) -> (int8, int4, text, text) repeatable
-- The same of one, if its copy is yet to be made.
select v.model, v.version, m.name, v.keep_from from model_version v join registered_model m on m.id = v.model
where v.model = $1 and v.version = $2 and v.keep_from is not null and v.deleted_at is null;

-- name: alias_set (text, text, int4, int8, text) -> (int4)
-- Model, alias, version, now, who. No row: there is no such version.
select alias_to_version($1, $2, $3, $4, $5);

-- name: alias_delete (text, text, int8, text) -> (int8)
-- No row: there is no such model.
with m as (select id, name from registered_model where name = $1),
gone as (delete from model_alias a using m where a.model = m.id and a.alias = $2 returning a.version),
told as (
  insert into event (time, kind, actor, subject, from_state, reason)
  select $3, 'model.alias', $4, m.name || '/' || g.version, g.version::text, $2 from m, gone g)
select id from m;

-- name: model_was (text, bool) -> (bool) repeatable
-- Whether there is, or was, a model of this name; only those that were deleted.
select exists (select from registered_model where name = $1 and not $2) or exists (select from model_gone where name = $1);

-- name: model_events (text, int4, bool, int8, int8) -> (int8, int8, text, text, text, text, text, text) repeatable
-- Of a model and all its versions, or one; after an id, at most so many. What happened to another model that had the name before is not its own;
-- those that were deleted are all told of where there is none any more, or when they are asked for.
select distinct on (e.id) e.id, e.time, e.kind, e.subject, e.actor, e.from_state, e.to_state, e.reason
from (select created, last_version, null::int8 as last_event from registered_model where name = $1 and not $3
      union all
      select created, last_version, last_event from model_gone
      where name = $1 and ($3 or not exists (select from registered_model where name = $1))) m
join event e on e.run is null and e.time >= m.created and e.kind like 'model.%'
  and case when m.last_event is null then e.kind <> 'model.deleted' or e.subject <> $1 else e.id <= m.last_event end
  and e.subject in (select $1 || '/' || v from generate_series(1, m.last_version) v where v = $2 or $2 is null
                    union all select $1 where $2 is null)
where e.id > $4 order by e.id limit $5;
