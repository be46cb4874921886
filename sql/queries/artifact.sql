-- Files of the artifact store.

-- name: artifact_announce (text, int8, bytea, int8, bytea[]) -> (bool) repeatable
-- Path, size, SHA-256, when: a file that is about to take the place of another. No row: that one has none of the SHA-256 in $5, if there are any.
insert into artifact_coming (path, size, sha256, created) select $1, $2, $3, $4
where cardinality($5) = 0 or exists (select from artifact where path = $1 and sha256 = any($5))
on conflict (path) do update set size = excluded.size, sha256 = excluded.sha256, created = excluded.created returning true;

-- name: artifact_put (text, int8, bytea, int8) -> () repeatable
-- It lies there.
with come as (delete from artifact_coming where path = $1)
insert into artifact (path, size, sha256, created) values ($1, $2, $3, $4)
on conflict (path) do update set size = excluded.size, sha256 = excluded.sha256, created = excluded.created;

-- name: artifact_remove (text) -> () repeatable
-- A file, or all below a directory. Versions of the registry that were made from it are from now on what they kept of it.
with moved as (
  update model_version set storage_location = 'mlflow-artifacts:/' || kept_path
  where kept_path is not null and storage_location like 'mlflow-artifacts:%'
    and left(ltrim(substr(storage_location, 18), '/') || '/', length($1) + 1) = $1 || '/' returning 1),
coming as (delete from artifact_coming where path = $1 or (path >= $1 || '/' and path < $1 || '0'))
delete from artifact where path = $1 or (path >= $1 || '/' and path < $1 || '0');

-- name: artifact_below (text) -> (text, int8, bytea, int8) repeatable
-- Path, size, SHA-256, when: of a file, or of all below a directory.
select path, size, sha256, created from artifact where path = $1 or (path >= $1 || '/' and path < $1 || '0') order by path;

-- name: artifact_coming_page (text, int8, int8) -> (text, int8, bytea, int8, bool) repeatable
-- The $2 files after a path that were announced before $3: as artifact_page has them.
select path, size, sha256, created, true from artifact_coming where path > $1 and created < $3 order by path limit $2;

-- name: artifact_came (text, bytea, int8) -> () repeatable
-- Path, SHA-256, when: one that was announced so has its place.
with come as (delete from artifact_coming where path = $1 and sha256 = $2 and created = $3 returning path, size, sha256, created)
insert into artifact (path, size, sha256, created) select path, size, sha256, created from come
on conflict (path) do update set size = excluded.size, sha256 = excluded.sha256, created = excluded.created;

-- name: artifact_came_not (text, bytea, int8) -> () repeatable
-- It has not, and never will.
delete from artifact_coming where path = $1 and sha256 = $2 and created = $3;

-- name: artifact_note (text, text[], int8[], bytea[], int8, bool) -> () repeatable
-- Where, names below it ("": itself), sizes, SHA-256s, when; whether only what a version of the registry keeps there counts.
insert into artifact (path, size, sha256, created)
select $1 || case when t.name = '' then '' else '/' || t.name end, t.size, t.sha256, $5 from unnest($2, $3, $4) t (name, size, sha256)
where not $6 or exists (select from model_version v where v.kept_path = $1 and v.deleted_at is null)
on conflict (path) do update set size = excluded.size, sha256 = excluded.sha256, created = excluded.created
where artifact.size <> excluded.size or artifact.sha256 <> excluded.sha256;

-- name: artifact_owners (uuid[], uuid[], uuid, int4) -> (uuid, text, bool, int4, bool, bool) repeatable
-- Runs and logged models of these ids: the run (null: a model without one), where the files are, whether an executor runs it, its attempt,
-- whether it is the run of a job or descends from it, whether that job's attempt is over.
select r.id, coalesce(r.artifact_uri, uri_below(e.artifact_location, replace(r.id::text, '-', '') || '/artifacts')), r.executor is not null,
  r.attempt, run_descends(r.id, $3), attempt_is_over($3, $4)
from run r join experiment e on e.id = r.experiment_id where r.id = any($1)
union all
select r.id, coalesce(m.artifact_uri, uri_below(e.artifact_location, 'models/m-' || replace(m.id::text, '-', '') || '/artifacts')),
  r.executor is not null, coalesce(r.attempt, 0), run_descends(r.id, $3), attempt_is_over($3, $4)
from logged_model m join experiment e on e.id = m.experiment_id 
left join run r on r.id = case when m.source_run ~ '^[0-9a-f]{32}$' then m.source_run::uuid end where m.id = any($2);

-- name: artifact_holds_owned (text) -> (bool) repeatable
-- Does a directory hold files of runs or logged models?
select exists (select from artifact where path >= $1 || '/' and path < $1 || '0' and substr(path, length($1) + 1) ~ '/(m-)?[0-9a-f]{32}/');
