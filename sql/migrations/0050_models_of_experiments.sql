-- An experiment in the trash was never deleted for good while logged models were in it, and nobody deletes those one by one: their files stayed
-- and its name was never free again. They go with it now, once nothing else is in it.

create or replace function logged_model_purge(gone uuid, before bigint, files text) returns boolean language plpgsql as $$
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
