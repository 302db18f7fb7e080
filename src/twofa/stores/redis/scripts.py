"""What the server does in one step: Lua scripts, each on keys of one shard, all of which are named beforehand.

Every script says `#!lua` and does not say `no-writes`, those that only read included. That makes the server treat it as
a write: a replica refuses it, so that no record is ever read where a spent code may still live. `allow-oom` lets those
that add nothing run on a server that is full.
"""

from __future__ import annotations

from hashlib import sha1


class Script:
    """A script and the name that the server has for it."""

    __slots__ = ("sha", "text")

    def __init__(self, text: str) -> None:
        self.text = text.strip()
        self.sha = sha1(self.text.encode(), usedforsecurity=False).hexdigest()


LOAD = Script("""
#!lua flags=allow-oom
-- KEYS: record. Returns version and document.
return redis.call('HMGET', KEYS[1], 'version', 'document')
""")

SWAP = Script("""
#!lua
-- KEYS: record, trail of the user, stream of the shard, users of the shard, mark of this very swap.
-- ARGV: user, '=' and the version expected or '' for none, '=' and the new version or '' to delete, document,
-- seconds that the mark stays, and for each event the number of its texts, and these.
-- Returns 1 if it happened, 0 if the version was another.
if redis.call('EXISTS', KEYS[5]) == 1 then
  return 1 -- this swap happened already, and its answer got lost: the driver sends it again
end
local held = redis.call('HGET', KEYS[1], 'version')
if (held and '=' .. held or '') ~= ARGV[2] then
  return 0
end
if ARGV[3] == '' then
  for _, id in ipairs(redis.call('SMEMBERS', KEYS[2])) do
    redis.call('XDEL', KEYS[3], id)
  end
  redis.call('DEL', KEYS[1], KEYS[2])
  redis.call('ZREM', KEYS[4], ARGV[1])
else
  redis.call('HSET', KEYS[1], 'version', string.sub(ARGV[3], 2), 'document', ARGV[4])
  redis.call('ZADD', KEYS[4], 0, ARGV[1])
end
-- Ids are microseconds, so that the streams of all shards can be read as one. Where the clock was set back '*' goes on
-- after the last id: it counts milliseconds, and so is behind it at any time.
local now = redis.call('TIME')
local next_id = string.format('%.0f-*', now[1] * 1000000 + now[2])
local at = 6
while at <= #ARGV do
  local last = at + ARGV[at]
  local id = redis.pcall('XADD', KEYS[3], next_id, unpack(ARGV, at + 1, last))
  if type(id) == 'table' then
    id = redis.call('XADD', KEYS[3], '*', unpack(ARGV, at + 1, last))
  end
  redis.call('SADD', KEYS[2], id)
  at = last + 1
end
redis.call('SET', KEYS[5], '', 'EX', ARGV[5])
return 1
""")

TRAIL = Script("""
#!lua flags=allow-oom
-- KEYS: trail of a user, stream of the shard. Returns the entries, in no order.
local entries = {}
for _, id in ipairs(redis.call('SMEMBERS', KEYS[1])) do
  entries[#entries + 1] = redis.call('XRANGE', KEYS[2], id, id)[1]
end
return entries
""")

PAGE = Script("""
#!lua flags=allow-oom
-- KEYS: stream of a shard. ARGV: where to start, most entries. Returns the server's microseconds, and the entries.
local now = redis.call('TIME')
local micros = string.format('%.0f', now[1] * 1000000 + now[2])
return {micros, redis.call('XRANGE', KEYS[1], ARGV[1], '+', 'COUNT', ARGV[2])}
""")

USERS = Script("""
#!lua flags=allow-oom
-- KEYS: users of a shard. ARGV: the user to go on after, most users. Returns them in the order of their bytes.
return redis.call('ZRANGE', KEYS[1], '(' .. ARGV[1], '+', 'BYLEX', 'LIMIT', 0, ARGV[2])
""")

OLD = Script("""
#!lua flags=allow-oom
-- KEYS: stream of a shard. ARGV: where to start, most entries, Unix seconds. Returns the last id that was looked at, or
-- nothing at the end, and id and user of each event that is older.
local old, last = {}, false
for _, entry in ipairs(redis.call('XRANGE', KEYS[1], ARGV[1], '+', 'COUNT', ARGV[2])) do
  last = entry[1]
  if tonumber(entry[2][4]) < tonumber(ARGV[3]) then
    old[#old + 1] = {entry[1], entry[2][2]}
  end
end
return {last, old}
""")

ERASE = Script("""
#!lua flags=allow-oom
-- KEYS: stream of a shard, trails of its users. ARGV: id of an event and number of its trail's key, in turns.
-- Returns how many there still were.
local erased = 0
for at = 1, #ARGV, 2 do
  erased = erased + redis.call('XDEL', KEYS[1], ARGV[at])
  redis.call('SREM', KEYS[tonumber(ARGV[at + 1])], ARGV[at])
end
return erased
""")
