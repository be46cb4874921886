-- Files of the artifact store.

-- name: artifact_put (text, int8, bytea, int8) -> () repeatable
insert into artifact (path, size, sha256, created) values ($1, $2, $3, $4)
on conflict (path) do update set size = excluded.size, sha256 = excluded.sha256, created = excluded.created;

-- name: artifact_remove (text) -> () repeatable
-- A file, or all below a directory. Versions of the registry that were made from it are from now on what they kept of it.
with moved as (
  update model_version set storage_location = 'mlflow-artifacts:/' || kept_path
  where kept_path is not null and storage_location like 'mlflow-artifacts:%'
    and left(ltrim(substr(storage_location, 18), '/') || '/', length($1) + 1) = $1 || '/' returning 1)
delete from artifact where path = $1 or (path >= $1 || '/' and path < $1 || '0');

-- name: artifact_below (text) -> (text, int8, bytea, int8) repeatable
-- Path, size, SHA-256, when: of a file, or of all below a directory.
select path, size, sha256, created from artifact where path = $1 or (path >= $1 || '/' and path < $1 || '0') order by path;
