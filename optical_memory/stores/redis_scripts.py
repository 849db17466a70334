"""What the Redis store does in one atomic step, as Lua scripts, each over the keys of one session.

Keys of a session: ``meta`` (birth, version, state, token), ``ids`` (turn id → "place:digest", the digest empty once
forgotten), ``turns`` (place → body), ``forgotten`` (place → turn id) and ``blobs``. An id keeps its entry for ever,
so that the number of ids is the next place: places have no gap and are never given again.
"""

_HEAD = """
local function head()
  local meta = redis.call('HMGET', KEYS[1], 'birth', 'version')
  return {meta[1], redis.call('HLEN', KEYS[2]), meta[2], redis.call('HLEN', KEYS[#KEYS > 3 and 4 or 3])}
end
local function hex(text)
  return (string.gsub(text, '.', function(c) return string.format('%02x', string.byte(c)) end))
end
"""

APPEND = f"""
-- KEYS: meta ids turns forgotten, and where the answer is kept (or none); ARGV: birth, the head it must have ('': any),
-- token of this call, digest of what was sent, for how many ms the answer is kept, times of the turns, then id, digest,
-- body of each turn. Reply: 'stored', made, head, then place, held body ('': new); or 'before' and the answer kept; or
-- why not.
{_HEAD}
local meta, ids, turns, gone, once = unpack(KEYS)
local before = once and redis.call('GET', once)
if before then
  if string.sub(before, 1, #ARGV[4]) ~= ARGV[4] then return {{'other'}} end
  redis.call('PEXPIRE', once, ARGV[5]) -- a write: so that replicas can be waited for
  return {{'before', string.sub(before, #ARGV[4] + 1)}}
end
if ARGV[2] ~= '' then
  local held = redis.call('HMGET', meta, 'birth', 'version', 'appended')
  local stamp = '=' .. (held[1] or '') .. ':' .. redis.call('HLEN', ids) .. ':' .. (held[2] or 0)
  if stamp ~= ARGV[2] and held[3] ~= ARGV[3] then return {{'moved'}} end -- the token: sent again, the reply was lost
end
local held = {{}}
for i = 7, #ARGV, 3 do
  held[i] = redis.call('HGET', ids, ARGV[i])
  local digest = held[i] and string.match(held[i], ':(.*)$')
  if digest == '' then return {{'forgotten', ARGV[i]}} end
  if digest and digest ~= ARGV[i + 1] then return {{'taken', ARGV[i]}} end
end
local made = redis.call('HSETNX', meta, 'birth', ARGV[1])
local length = redis.call('HLEN', ids)
if ARGV[3] ~= '' then redis.call('HSET', meta, 'appended', ARGV[3]) end
local pairs, places = {{}}, {{}}
for i = 7, #ARGV, 3 do
  local place = length
  local body = ''
  if held[i] then
    place = tonumber(string.match(held[i], '^%d+'))
    body = redis.call('HGET', turns, place)
  else
    redis.call('HSET', ids, ARGV[i], place .. ':' .. ARGV[i + 1])
    redis.call('HSET', turns, place, ARGV[i + 2])
    length = length + 1
  end
  places[#places + 1] = place
  pairs[#pairs + 1] = place
  pairs[#pairs + 1] = body
end
local now = head()
local reply = {{'stored', made, now[1], now[2], now[3], now[4]}}
for i = 1, #pairs do reply[#reply + 1] = pairs[i] end
if once then
  local figures = ARGV[4] .. hex(now[1]) .. ' ' .. now[2] .. ' ' .. (now[3] or 0) .. ' ' .. now[4] .. ' '
  redis.call('SET', once, figures .. table.concat(places, ' ') .. ' ' .. ARGV[6], 'PX', ARGV[5])
end
return reply
"""

RANGE = """
-- KEYS: ids turns; ARGV: first place, end, most turns, most bytes, most places. Reply: next place, end, place, body …
local first = tonumber(ARGV[1])
local stop = math.min(tonumber(ARGV[2]), redis.call('HLEN', KEYS[1]))
local reply, size, place = {first, stop}, 0, first
while place < stop and place < first + tonumber(ARGV[5]) and size < tonumber(ARGV[4])
    and #reply < 2 * tonumber(ARGV[3]) + 2 do
  local body = redis.call('HGET', KEYS[2], place)
  if body then
    reply[#reply + 1] = place
    reply[#reply + 1] = body
    size = size + #body
  end
  place = place + 1
end
reply[1] = place
return reply
"""

GET = """
-- KEYS: ids turns; ARGV: ids. Reply: place, body of each that is stored now.
local reply = {}
for _, id in ipairs(ARGV) do
  local held = redis.call('HGET', KEYS[1], id)
  local place = held and string.match(held, '^%d+')
  local body = place and redis.call('HGET', KEYS[2], place)
  if body then
    reply[#reply + 1] = tonumber(place)
    reply[#reply + 1] = body
  end
end
return reply
"""

HEAD = f"""
-- KEYS: meta ids forgotten. Reply: birth, length, version, forgotten.
{_HEAD}
return head()
"""

LIST = """
-- KEYS: a sorted set; ARGV: score, name. A full server lets a script go on that has removed something first.
redis.call('ZREM', KEYS[1], ARGV[2])
return redis.call('ZADD', KEYS[1], ARGV[1], ARGV[2])
"""

SAVE_STATE = f"""
-- KEYS: meta ids forgotten; ARGV: birth, expected version, data, token of this call, wanted birth in hex (or none).
-- Reply: made (-1: a conflict), then the head.
{_HEAD}
local function reply(made) return {{made, unpack(head(), 1, 4)}} end
local held = redis.call('HMGET', KEYS[1], 'token', 'birth', 'version')
if held[1] == ARGV[4] then return reply(0) end -- sent again: the reply was lost
local version = tonumber(held[3] or 0)
if version ~= tonumber(ARGV[2]) or (ARGV[5] and ARGV[5] ~= hex(held[2] or '')) then return reply(-1) end
-- A full server takes what is no larger than what it replaces, since something was removed first: forgetting needs it.
if #ARGV[3] <= redis.call('HSTRLEN', KEYS[1], 'state') then redis.call('HDEL', KEYS[1], 'token') end
local made = redis.call('HSETNX', KEYS[1], 'birth', ARGV[1])
redis.call('HSET', KEYS[1], 'version', version + 1, 'state', ARGV[3], 'token', ARGV[4])
return reply(made)
"""

PUT_BLOBS = """
-- KEYS: meta blobs; ARGV: birth, then key, data of each blob. Reply: made.
local made = redis.call('HSETNX', KEYS[1], 'birth', ARGV[1])
for i = 2, #ARGV, 2 do redis.call('HSET', KEYS[2], ARGV[i], ARGV[i + 1]) end
return {made}
"""

DELETE_TURNS = """
-- KEYS: ids turns forgotten; ARGV: ids. Reply: the places of those that there were.
local places = {}
for _, id in ipairs(ARGV) do
  local held = redis.call('HGET', KEYS[1], id)
  local place = held and string.match(held, '^%d+')
  if place and redis.call('HDEL', KEYS[2], place) == 1 then
    redis.call('HSET', KEYS[1], id, place .. ':')
    redis.call('HSET', KEYS[3], place, id)
    places[#places + 1] = tonumber(place)
  end
end
return places
"""

DELETE_ALL = """
-- KEYS: a hash, then any others. Reply: how many entries the first had.
local count = redis.call('HLEN', KEYS[1])
redis.call('DEL', unpack(KEYS))
return count
"""
