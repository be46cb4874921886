-- What came from the logs and what a client logged under the same key, maybe in the same millisecond, could not be told apart when output was
-- read anew. Now a stream keeps what it was last read with: to read it so once more gives the points that came from it, and no others. That
-- it does (the recognisers may have become better since) is seen by their number and by all of them mixed into one.
--
-- `sources` is null for streams from before: there the old rule holds, by `keys`.
alter table log_stream add column sources text;
alter table log_stream add column points bigint not null default 0;
alter table log_stream add column mixed bigint not null default 0;

create function log_stream_is_as_read(moved boolean) returns void language plpgsql as $$
begin
  if not moved then
    raise exception 'the output or its points have changed meanwhile' using errcode = 'WN420';
  end if;
end
$$;
