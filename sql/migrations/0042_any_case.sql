-- What ILIKE goes by: letters of every alphabet in either case, whatever locale the cluster was made with (ours: C, which knows ASCII alone).
do $$
begin
  create collation any_case (provider = libc, locale = 'C.UTF-8');
exception when others then
  begin
    create collation any_case (provider = icu, locale = 'und');
  exception when others then
    create collation any_case from "C";
  end;
end
$$;
