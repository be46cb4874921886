-- That unsealed points are gone and that output has changed had one SQLSTATE, WN420. The first is mended by trying once more; of the second all
-- that was derived is stale, and no try could succeed. Now it has one of its own.
create or replace function log_stream_is_as_read(moved boolean) returns void language plpgsql as $$
begin
  if not moved then
    raise exception 'the output or its points have changed meanwhile' using errcode = 'WN421';
  end if;
end
$$;
