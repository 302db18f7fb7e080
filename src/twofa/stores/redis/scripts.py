"""What the server does in one step: Lua scripts, which Redis runs one at a time.

Each script works on one key, the sorted set of one shard, or on several of them where nothing is changed that has to
stay in step (on a cluster: never more than one). `docs/stores-redis.md` explains the members of such a set:

    !<identity>                                       says which store the shard belongs to
    u<user> NUL <version> LF <marks> LF <document>    the record of a user
    e<position> <time> SP <user> NUL <text>           the events of all users in the order in which they happened
    e<time>9999                                       always last: a time that the next event has to be after
    t<user> NUL <position>                            the audit trail of a user
    m<time> <marks>                                   swaps that deleted a user, for ten minutes

Every answer begins with the word `twofa` and the ticket that came with the question. An answer that lacks them belongs
to somebody else's question, and is never read as "there is no record".

A script that only reads is flagged `no-writes`: a server that refuses writes, because its disk is full or its replicas
are gone, can still say who needs a second factor. Such a script would run on a replica too, where a spent code may
still look unspent, so it asks for the role of its server first. `allow-oom` lets a script that frees memory run when
there is none.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from hashlib import sha1

REMEMBERED_SWAPS = 4
"""How many swaps of a user are recognised when they are sent again."""
MARK_DIGITS = 16
"""How long the mark of a swap is."""
REMEMBERED_SECONDS = 600
"""How long a swap that deleted a user is recognised."""


@dataclass(frozen=True, slots=True)
class Script:
    """A script, and the name under which a server remembers it."""

    text: str
    name: str = field(init=False)

    def __post_init__(self) -> None:
        # Redis names a script by its SHA-1, and so does its command EVALSHA.
        object.__setattr__(self, "name", sha1(self.text.encode(), usedforsecurity=False).hexdigest())


_COMMON = r"""
local ticket, identity = ARGV[1], ARGV[2]

-- All members that begin with a text, in order. No member has the byte 255 in the place that is compared.
local function all(key, beginning)
  return redis.call('ZRANGE', key, '[' .. beginning, '(' .. beginning .. '\255', 'BYLEX')
end

local function remove(key, beginning)
  redis.call('ZREMRANGEBYLEX', key, '[' .. beginning, '(' .. beginning .. '\255')
end

-- The last member of the outbox: an event, or a bare time.
local function last_of_outbox(key)
  return redis.call('ZRANGE', key, '(f', '[e', 'BYLEX', 'REV', 'LIMIT', 0, 1)[1]
end

local function time_of(outbox_member)
  return string.sub(outbox_member, 2, 17)
end

-- A bare time ends the outbox where its last event was erased, or was handed on. It sorts after all events of its time.
local function bare(time)
  return 'e' .. time .. '9999'
end

local function is_bare(outbox_member)
  return #outbox_member == 21
end

-- A shard that is gone, or that belongs to another store, says nothing about its users.
for _, key in ipairs(KEYS) do
  if not redis.call('ZSCORE', key, '!' .. identity) then
    return {'twofa', ticket, 'lost', key}
  end
end
"""

_ONLY_ON_A_PRIMARY = r"""
if not string.find(redis.call('INFO', 'replication'), 'role:master', 1, true) then
  return redis.error_reply('READONLY the server is a replica: only the primary knows every spent code')
end
"""


def _reading(body: str, common: str = _COMMON) -> Script:
    return Script("#!lua flags=no-writes" + _ONLY_ON_A_PRIMARY + common + body)


def _writing(body: str, common: str = _COMMON, flags: str = "") -> Script:
    return Script(f"#!lua{flags}" + common + body)


# --- records ---------------------------------------------------------------------------------------------------------

LOAD = _reading(r"""
-- KEYS: the shard. ARGV: ticket, identity, user. Returns the user again, with the record or 'absent'.
local name = 'u' .. ARGV[3] .. '\0'
local record = all(KEYS[1], name)[1]
if not record then
  return {'twofa', ticket, ARGV[3], 'absent'}
end
return {'twofa', ticket, ARGV[3], 'record', string.sub(record, #name + 1)}
""")

SWAP = _writing(
    f"local REMEMBERED, MARKS = {REMEMBERED_SECONDS}, {REMEMBERED_SWAPS * MARK_DIGITS}"
    r"""
-- KEYS: the shard. ARGV: ticket, identity, user, mark of this swap, '=' and the expected version or '' for none,
-- '=' and the new version or '' to delete, document, and for each event its time and its text.
-- Returns 'yes' if the swap happened, and 'no' if the version was another one.
local key, user, mark, expected, new = KEYS[1], ARGV[3], ARGV[4], ARGV[5], ARGV[6]
local name = 'u' .. user .. '\0'
local record = all(key, name)[1]
local version, marks = '', ''
if record then
  local first = string.find(record, '\n', #name + 1, true)
  local second = string.find(record, '\n', first + 1, true)
  version = '=' .. string.sub(record, #name + 1, first - 1)
  marks = string.sub(record, first + 1, second - 1)
end

-- A driver sends a command again if the answer got lost. Then this swap has already happened: the member says so that
-- has its mark. It is written once more, since WAIT waits only for what its own connection has written.
local function is_sent_again()
  local witness = record and string.find(marks, mark, 1, true) and record
  for _, deleted in ipairs(all(key, 'm')) do
    witness = witness or string.find(deleted, mark, 18, true) and deleted
  end
  if witness then
    redis.call('ZREM', key, witness)
    redis.call('ZADD', key, 0, witness)
  end
  return witness
end

if version ~= expected or not record then
  if is_sent_again() then
    return {'twofa', ticket, 'yes'}
  end
  if version ~= expected then
    return {'twofa', ticket, 'no'}
  end
end

-- Everything is decided. What follows cannot fail halfway: the members are made first, then removed, then added.
local now = redis.call('TIME')
now = now[1] * 1000000 + now[2]
local last = last_of_outbox(key)
local time = now
if last and tonumber(time_of(last)) >= now then
  time = tonumber(time_of(last)) + 1 -- another server's clock was ahead, or this one's was set back
end
time = string.format('%016.0f', time)
marks = string.sub(mark .. marks, 1, MARKS)

local gone, added = {}, {}
if new == '' then
  for _, event in ipairs(all(key, 't' .. user .. '\0')) do
    local member = all(key, 'e' .. string.sub(event, #name + 1))[1]
    gone[#gone + 1] = member
    if member == last and #ARGV < 8 then
      added = {0, bare(time_of(last))} -- so that no later event gets an earlier time
    end
  end
  added[#added + 1] = 0
  added[#added + 1] = 'm' .. string.format('%016.0f', now + REMEMBERED * 1000000) .. marks
else
  added = {0, name .. string.sub(new, 2) .. '\n' .. marks .. '\n' .. ARGV[7]}
end
if #ARGV >= 8 and last and is_bare(last) then
  gone[#gone + 1] = last
end
for i = 8, #ARGV, 2 do
  local position = time .. string.format('%04d', (i - 8) / 2)
  added[#added + 1] = 0
  added[#added + 1] = 'e' .. position .. ARGV[i] .. ' ' .. user .. '\0' .. ARGV[i + 1]
  added[#added + 1] = 0
  added[#added + 1] = 't' .. user .. '\0' .. position
end

remove(key, name)
if new == '' then
  remove(key, 't' .. user .. '\0')
  redis.call('ZREMRANGEBYLEX', key, '[m', '(m' .. string.format('%016.0f', now))
end
for _, member in ipairs(gone) do
  redis.call('ZREM', key, member)
end
redis.call('ZADD', key, unpack(added))
return {'twofa', ticket, 'yes'}
"""
)

# --- the audit trail and the outbox ----------------------------------------------------------------------------------

TRAIL = _reading(r"""
-- KEYS: the shard. ARGV: ticket, identity, user. Returns the user's events, in order.
local name, events = 't' .. ARGV[3] .. '\0', {}
for _, member in ipairs(all(KEYS[1], name)) do
  events[#events + 1] = all(KEYS[1], 'e' .. string.sub(member, #name + 1))[1]
end
return {'twofa', ticket, events}
""")

OUTBOX = _reading(r"""
-- KEYS: shards. ARGV: ticket, identity, how many at most of each, and for each shard where to begin.
-- Returns for each shard its next events.
local result = {'twofa', ticket}
for i, key in ipairs(KEYS) do
  result[#result + 1] = redis.call('ZRANGE', key, ARGV[3 + i], '(f', 'BYLEX', 'LIMIT', 0, ARGV[3])
end
return result
""")

CLOSE_PAGE = _writing(r"""
-- KEYS: shards. ARGV: ticket, identity, a time, and for each shard where to begin.
-- Sees to it that whatever happens from now on gets a later time, then returns for each shard its events up to that
-- time.
local result = {'twofa', ticket}
for i, key in ipairs(KEYS) do
  local last = last_of_outbox(key)
  if not last or time_of(last) < ARGV[3] then
    if last and is_bare(last) then
      redis.call('ZREM', key, last)
    end
    redis.call('ZADD', key, 0, bare(ARGV[3]))
  end
  result[#result + 1] = redis.call('ZRANGE', key, ARGV[3 + i], '(e' .. ARGV[3] .. '\255', 'BYLEX')
end
return result
""")

PRUNE = _writing(
    r"""
-- KEYS: the shard. ARGV: ticket, identity, where to begin, how many to look at, Unix seconds.
-- Erases the events that are older. Returns the last member it has looked at, or '' at the end, and how many it erased.
local key, before = KEYS[1], tonumber(ARGV[5])
local last, seen, erased = last_of_outbox(key), '', 0
for _, member in ipairs(redis.call('ZRANGE', key, ARGV[3], '(f', 'BYLEX', 'LIMIT', 0, ARGV[4])) do
  seen = member
  if not is_bare(member) then
    local space = string.find(member, ' ', 22, true)
    if tonumber(string.sub(member, 22, space - 1)) < before then
      local user = string.sub(member, space + 1, string.find(member, '\0', space, true) - 1)
      redis.call('ZREM', key, member)
      redis.call('ZREM', key, 't' .. user .. '\0' .. string.sub(member, 2, 21))
      erased = erased + 1
      if member == last then
        redis.call('ZADD', key, 0, bare(time_of(last))) -- so that no later event gets an earlier time
      end
    end
  end
end
return {'twofa', ticket, seen, erased}
""",
    flags=" flags=allow-oom",
)

# --- the list of users -----------------------------------------------------------------------------------------------

USERS = _reading(r"""
-- KEYS: shards. ARGV: ticket, identity, how many at most of each, and for each shard the user to go on after, or ''.
-- Returns for each shard its next users, in the order of their bytes.
local result = {'twofa', ticket}
for i, key in ipairs(KEYS) do
  local from, users = '[u', {}
  if ARGV[3 + i] ~= '' then
    from = '(u' .. ARGV[3 + i] .. '\0\255'
  end
  for _, member in ipairs(redis.call('ZRANGE', key, from, '(v', 'BYLEX', 'LIMIT', 0, ARGV[3])) do
    users[#users + 1] = string.sub(member, 2, string.find(member, '\0', 2, true) - 1)
  end
  result[#result + 1] = users
end
return result
""")

# --- creating a store ------------------------------------------------------------------------------------------------

READ_MARKER = _reading(
    r"""
-- KEYS: the marker. ARGV: ticket. Returns what it says, or ''.
return {'twofa', ARGV[1], redis.call('GET', KEYS[1]) or ''}
""",
    common="",
)

REPLACE_MARKER = _writing(
    r"""
-- KEYS: the marker. ARGV: ticket, what it has to say so far, what to write. Returns what it says afterwards.
local held = redis.call('GET', KEYS[1]) or ''
if held == ARGV[2] then
  held = ARGV[3]
  redis.call('SET', KEYS[1], held)
end
return {'twofa', ARGV[1], held}
""",
    common="",
)

LOOK = _reading(
    r"""
-- KEYS: shards. ARGV: ticket. Returns for each whether it holds anything of a user.
local result = {'twofa', ARGV[1]}
for _, key in ipairs(KEYS) do
  result[#result + 1] = #redis.call('ZRANGE', key, '[A', '+', 'BYLEX', 'LIMIT', 0, 1)
end
return result
""",
    common="",
)

CREATE = _writing(
    r"""
-- KEYS: shards. ARGV: ticket, identity. Makes empty shards of the store.
for _, key in ipairs(KEYS) do
  redis.call('ZREMRANGEBYLEX', key, '[!', '(A')
  redis.call('ZADD', key, 0, '!' .. ARGV[2])
end
return {'twofa', ARGV[1]}
""",
    common="",
)
