-- Sealing asks for the chunks that unsealed points may fall into, and for the one before them: without this it reads all chunks of a run,
-- again and again while a long run goes on.
create index metric_chunk_by_step on metric_chunk (run, key, last_step);
