-- Of an experiment that was deleted for good its own directory stayed, with that of its logged models, both empty. They are noted as what is to go
-- now, behind what lay in them; what others have put there stays.

alter table doomed add column if_empty boolean not null default false;

drop function experiment_purge(bigint, bigint);
create function experiment_purge(gone bigint, before bigint, files text) returns boolean language plpgsql as $$
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
