-- Credentials. The text of a token is never stored, only its SHA-256.

-- name: token_create (uuid, text, bytea, text[], timestamptz, uuid) -> (timestamptz) repeatable
-- Under an id we made, so that the same call twice makes one token. The last: of a session, the token that opened it.
insert into token (id, name, hash, scopes, expires, parent)
values ($1, $2, $3, $4, $5, $6)
on conflict (id) do update set name = token.name
returning created;

-- name: token_find (bytea) -> (uuid, text, text[], timestamptz, timestamptz, timestamptz) repeatable
-- id, name, scopes, created, expires, last_used of a token that is neither revoked nor expired.
select id, name, scopes, created, expires, last_used
from token
where hash = $1 and revoked is null and (expires is null or expires > now());

-- name: token_list (uuid, int4) -> (uuid, text, text[], timestamptz, timestamptz, timestamptz, timestamptz) repeatable
-- id, name, scopes, created, expires, revoked, last_used; the $2 tokens after the id $1 (null: from the first).
select id, name, scopes, created, expires, revoked, last_used
from token
where $1 is null or id > $1
order by id
limit $2;

-- name: token_revoke (uuid) -> (timestamptz) repeatable
-- With the sessions that it opened. No row when there is no such token. Revoking again keeps the first time.
update token set revoked = coalesce(revoked, now()) where id = $1 or parent = $1 returning revoked;

-- name: token_touch (uuid[]) -> () repeatable
-- Last use, to the minute: a busy token costs one write a minute.
update token set last_used = now()
where id = any ($1) and (last_used is null or last_used < now() - interval '1 minute');

-- name: token_load () -> (uuid, text, bytea, text[], timestamptz, uuid) repeatable
-- id, name, hash, scopes, expires, parent of every token that is valid: the service keeps them in memory. A session that was being stored while
-- the token that opened it was revoked ends with that, too.
select id, name, hash, scopes, expires, parent
from token
where revoked is null and (expires is null or expires > now())
  and not exists (select from token as opener where opener.id = token.parent and opener.revoked is not null);
