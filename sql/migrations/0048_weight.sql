-- How many bytes a value takes when it is read, without reading it: a search weighs its page before it is shipped. Of a compressed value only
-- the packed size is known at once. Metrics of a run unpack to twice or three times that; the same letter again and again to 84 times.
create function weight_of(value anyelement) returns bigint language sql stable parallel safe as $$
  select coalesce(pg_column_size(value), 0)::bigint * case when pg_column_compression(value) is null then 1 else 8 end
$$;
