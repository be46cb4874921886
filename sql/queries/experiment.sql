-- Experiments. Columns of one, everywhere: id, name, artifact_location, created, updated, deleted_at, tags.

-- name: experiment_default (text, int8) -> () repeatable
-- Experiment 0 is there from the start. Its location is the artifact root's "0".
insert into experiment (id, name, artifact_location, created, updated) values (0, 'Default', uri_below($1, '0'), $2, $2) on conflict do nothing;

-- name: experiment_create (text, text, text, jsonb, int8) -> (int8)
-- Name, location or null, artifact root, tags, now. No row: the name is taken.
with n as (select nextval('experiment_id') as id)
insert into experiment (id, name, artifact_location, created, updated, tags)
select n.id, $1, coalesce($2, uri_below($3, n.id::text)), $5, $5, $4 from n
on conflict (name) do nothing
returning id;

-- name: experiment_get (int8) -> (int8, text, text, int8, int8, int8, jsonb) repeatable
select id, name, artifact_location, created, updated, deleted_at, tags from experiment where id = $1;

-- name: experiment_get_by_name (text) -> (int8, text, text, int8, int8, int8, jsonb) repeatable
select id, name, artifact_location, created, updated, deleted_at, tags from experiment where name = $1;

-- name: experiment_delete (int8, int8) -> (int8)
-- Its active runs go with it. No row: there is no active experiment of that id.
select experiment_remove($1, $2);

-- name: experiment_restore (int8, int8) -> (int8)
-- With all its runs. No row: there is no deleted experiment of that id.
with back as (update experiment set deleted_at = null, updated = $2 where id = $1 and deleted_at is not null returning id),
runs as (update run set deleted_at = null from back where run.experiment_id = back.id and run.deleted_at is not null returning 1)
select id from back;

-- name: experiment_rename (int8, text, int8) -> (bool)
-- Whether it is active; no row: there is none. A taken name is refused by experiment_name_key.
with e as (select id, deleted_at is null as active from experiment where id = $1),
done as (update experiment x set name = $2, updated = $3 from e where x.id = e.id and e.active returning 1)
select active from e;

-- name: experiment_set_tags (int8, jsonb) -> (bool) repeatable
-- Whether it is active; no row: there is none.
with e as (select id, deleted_at is null as active from experiment where id = $1),
done as (update experiment x set tags = x.tags || $2 from e where x.id = e.id and e.active returning 1)
select active from e;

-- name: experiment_delete_tag (int8, text) -> (bool, bool)
-- Whether it is active, whether the tag was there.
with e as (select id, deleted_at is null as active, tags ? $2 as had from experiment where id = $1 for update),
done as (update experiment x set tags = x.tags - $2 from e where x.id = e.id and e.active returning 1)
select active, had from e;

-- name: experiment_search (text, text[], int8[], float8[], uuid[]) -> (int8, text, text, int8, int8, int8, jsonb, text[]) repeatable
select e.id, e.name, e.artifact_location, e.created, e.updated, e.deleted_at, e.tags, f.page_key
from find_rows($1, $2, $3, $4, $5) with ordinality f (id, n, v, page_key, place)
cross join lateral (select * from experiment x where x.id = f.n offset 0) e
order by f.place;

-- name: experiment_page (text, text[], int8[], float8[], uuid[], int8)
--   -> (int8, text, text, int8, int8, int8, jsonb, text[], bool, uuid, int8, int4) repeatable
-- In one piece: as run_page.
select p.n, p.name, p.artifact_location, p.created, p.updated, p.deleted_at, case when p.fits then p.tags end, p.page_key, p.fits, p.id, p.n, p.v
from (
  select f.*, e.name, e.artifact_location, e.created, e.updated, e.deleted_at, e.tags, sum(weight_of(e.tags)) over (order by f.place rows unbounded preceding) <= $6 as fits
  from find_rows($1, $2, $3, $4, $5) with ordinality f (id, n, v, page_key, place)
  cross join lateral (select * from experiment x where x.id = f.n offset 0) e) p
order by p.place;

-- name: experiment_ensure (text, text, int8) -> (int8, bool) repeatable
-- Name, artifact root, now. The experiment of that name, made if there is none, and whether it is deleted. One that another makes at the same
-- moment is not among the old ones, so the insert answers with it.
with old as (select id, deleted_at is not null as deleted from experiment where name = $1),
n as (select nextval('experiment_id') as id where not exists (select from old)),
made as (
  insert into experiment (id, name, artifact_location, created, updated) select n.id, $1, uri_below($2, n.id::text), $3, $3 from n
  on conflict (name) do update set name = excluded.name returning id, deleted_at is not null as deleted)
select * from old union all select * from made;

-- name: experiment_patch (int8, text, jsonb, text[], int8) -> (bool)
-- Name or null, tags to set, tags to remove, now. Whether it is active; no row: there is none.
with e as (select id, deleted_at is null as active from experiment where id = $1),
done as (
  update experiment x set name = coalesce($2, x.name), tags = (x.tags || $3) - $4, updated = $5
  from e where x.id = e.id and e.active returning 1)
select active from e;

-- name: experiment_run_count (int8[]) -> (int8, int8) repeatable
-- How many runs each has, as lists show them, counted up to 100,000; of one that is in the trash those that came there with it too. What lists
-- do not show is counted by an index of its own, and taken away: the rows need not be looked at.
select e.id, (select count(*) from (select from run r where r.experiment_id = e.id limit 100000 + e.unlisted) c) - e.unlisted
from (
  select x.id, (
    select count(*) from run r
    where r.experiment_id = x.id and (r.kind = 1 or r.deleted_at is not null) and (r.kind = 1 or x.deleted_at is null)) as unlisted
  from experiment x where x.id = any($1) offset 0) e;

-- name: experiment_datasets (int8[]) -> (int8, text, text, text) repeatable
-- What the runs of these experiments read, each once per context.
select distinct d.experiment_id, d.name, d.digest, x.tags ->> 'mlflow.data.context'
from dataset d join run_dataset x on x.dataset = d.id
where d.experiment_id = any($1)
order by 1, 2, 3, 4
limit 1001;
