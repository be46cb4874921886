-- Answers kept under an Idempotency-Key: web/idempotency.h.

-- name: idempotency_begin (bytea, bytea, int8) -> (bool, bytea, int8, int2, text, bytea)
-- Key, request, now. Whether it is ours from now on; else request, when, status (null: under way), type, answer of the one there is. No row: another
-- has just begun.
with made as (insert into idempotency (key, request, created) values ($1, $2, $3) on conflict (key) do nothing returning 1)
select true, null::bytea, null::int8, null::int2, null::text, null::bytea from made
union all
select false, request, created, status, content_type, answer from idempotency where key = $1 and not exists (select from made);

-- name: idempotency_take (bytea, int8, int8) -> (bool)
-- One under way since $2 is ours from $3 on. No row: somebody else's.
update idempotency set created = $3 where key = $1 and created = $2 and status is null returning true;

-- name: idempotency_keep (bytea, int2, text, bytea, text) -> () repeatable
-- Key, status, type, answer; the path of artifacts that nobody needs from now on, or null.
with kept as (update idempotency set status = $2, content_type = $3, answer = $4 where key = $1 returning 1)
insert into doomed (path) select $5 from kept where $5 is not null;

-- name: idempotency_free (bytea) -> () repeatable
delete from idempotency where key = $1 and status is null;

-- name: idempotency_clean (int8, int8) -> () repeatable
-- What is older than $1, and the oldest beyond $2.
delete from idempotency where created < $1
  or created < (select created from idempotency order by created desc offset $2 limit 1);
