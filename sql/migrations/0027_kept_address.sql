-- Versions whose files were kept before that moved their address: it still is that of the run's own files. Those that are a directory get the
-- address of what was kept of it. One that is a single file lay there without its name, which an address must end in: it stays as it is.
update model_version v set storage_location = 'mlflow-artifacts:/' || v.kept_path
from (select model, version, ltrim(substr(storage_location, 18), '/') as source from model_version) s
where s.model = v.model and s.version = v.version and v.kept_path is not null and v.deleted_at is null
  and v.storage_location like 'mlflow-artifacts:%' and s.source <> v.kept_path and left(s.source, length(v.kept_path) + 1) <> v.kept_path || '/'
  and not exists (select from artifact a where a.path = s.source)
  and exists (select from artifact a where a.path > s.source || '/' and a.path < s.source || '0');
