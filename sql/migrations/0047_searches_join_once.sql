-- A search led by a metric's index looks up each run once. Remembering them (Postgres 14 and later), in case one came again, took a tenth
-- of the search.
do $$
begin
  alter function find_rows(text, text[], bigint[], double precision[], uuid[]) set enable_memoize = off;
exception when undefined_object then
  null;
end
$$;
