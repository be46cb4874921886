-- How many bytes of a stream were given up before they came: what is kept of an attempt is counted without them.
alter table log_stream add column lost int8 not null default 0;
