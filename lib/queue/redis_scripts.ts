import { createHash } from "node:crypto";

/** A Lua script and the name under which the server keeps it. */
export interface Script {
  readonly text: string;
  readonly sha: string;
}

/*
 * The layout, all of it in one slot of a cluster because of the braces (`p` is `{<stream name>}:`):
 *   p<group>   a stream: one group's lane; it exists only while it holds an entry
 *   p lanes    sorted set of the lanes that may hold entries nobody has yet, scored by whose turn it is
 *   p leased   sorted set of the lanes with leased entries, scored by when to look for expired ones (ms)
 *   p delayed  sorted set of "group message", scored by when it is due (ms)
 *   p bell     a stream of one entry, written when a lane comes to `lanes`; waiting workers read it
 *   p epoch    the mark of these contents
 * Every change is one script, so that no lane is ever forgotten between two commands. The clock is the server's.
 */
const prelude = `
local p, consumers = ARGV[1], ARGV[2]
local lanes, leased, delayed, bell = p .. 'lanes', p .. 'leased', p .. 'delayed', p .. 'bell'
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local seen, added, turn = {}, false, nil

local function nextTurn()
  if not turn then
    local last = redis.call('ZRANGE', lanes, -1, -1, 'WITHSCORES')
    turn = tonumber(last[2] or '0')
  end
  turn = turn + 1
  return turn
end

local function ring(group, message)
  local lane = p .. group
  if not seen[group] and redis.call('EXISTS', lane) == 0 then
    local made = redis.pcall('XGROUP', 'CREATE', lane, consumers, '0', 'MKSTREAM')
    if made.err then return made.err end
  end
  local id = redis.pcall('XADD', lane, '*', 'm', message)
  if type(id) == 'table' and id.err then return id.err end
  if not seen[group] and redis.call('ZADD', lanes, 'NX', nextTurn(), group) == 1 then added = true end
  seen[group] = true
  return ''
end

local function later(group, message, delay)
  local set = redis.pcall('ZADD', delayed, 'LT', now + delay, group .. ' ' .. message)
  return type(set) == 'table' and set.err or ''
end

local function wake()
  if added then redis.pcall('XADD', bell, 'MAXLEN', 1, '*', 'r', '1') end
end

local function forgetIfEmpty(group)
  if redis.call('XLEN', p .. group) == 0 then
    redis.call('DEL', p .. group)
    redis.call('ZREM', lanes, group)
    redis.call('ZREM', leased, group)
  end
end
`;

/** ARGV: p, consumers, delay in ms, then group and message of each bell. Answers an error text, or '', for each. */
export const pushScript = script(`
local delay, results = tonumber(ARGV[3]), {}
for at = 4, #ARGV, 2 do
  if delay > 0 then results[#results + 1] = later(ARGV[at], ARGV[at + 1], delay)
  else results[#results + 1] = ring(ARGV[at], ARGV[at + 1]) end
end
wake()
return results`);

/**
 * ARGV: p, consumers, consumer, max, lease in ms, how many due entries to move at most, groups to skip.
 * Answers: whether to ask again at once, ms until the next delayed entry (-1: none), the bell last rung, and then
 * group, entry, message and count of deliveries for each entry taken.
 */
export const takeScript = script(`
local consumer, max, lease, moves = ARGV[3], tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6])
local skip, skipped = {}, 0
for at = 7, #ARGV do
  skip[ARGV[at]] = true
  skipped = skipped + 1
end
local out, taken, more = { 0, 0, '0-0' }, 0, 0

local due = redis.call('ZRANGE', delayed, '-inf', now, 'BYSCORE', 'LIMIT', 0, moves)
for _, member in ipairs(due) do
  local space = string.find(member, ' ', 1, true)
  local fault = ring(string.sub(member, 1, space - 1), string.sub(member, space + 1))
  -- a server that is out of memory keeps it for later; a key that is no lane will never take it
  if fault == '' or string.find(fault, 'WRONGTYPE', 1, true) then redis.call('ZREM', delayed, member) end
end
if #due == moves and added then more = 1 end
local soonest = redis.call('ZRANGE', delayed, 0, 0, 'WITHSCORES')
local wait = soonest[2] and math.max(0, tonumber(soonest[2]) - now) or -1

local function give(group, entry, count)
  out[#out + 1] = group
  out[#out + 1] = entry[1]
  out[#out + 1] = entry[2][2]
  out[#out + 1] = count
  taken = taken + 1
end

local function reclaim(group)
  local lane, cursor = p .. group, '0-0'
  for _ = 1, 20 do
    local claimed = redis.pcall('XAUTOCLAIM', lane, consumers, consumer, lease, cursor, 'COUNT', max - taken)
    if claimed.err then return redis.call('ZREM', leased, group) end
    cursor = claimed[1]
    for _, entry in ipairs(claimed[2]) do
      local held = redis.call('XPENDING', lane, consumers, entry[1], entry[1], 1)
      give(group, entry, held[1][4])
    end
    if cursor == '0-0' then break end
    if taken >= max then return end
  end
  forgetIfEmpty(group)
  local held = redis.pcall('XPENDING', lane, consumers)
  if held.err or held[1] == 0 then redis.call('ZREM', leased, group)
  else redis.call('ZADD', leased, 'XX', now + math.ceil(lease / 8), group) end
end

for _, group in ipairs(redis.call('ZRANGE', leased, '-inf', now, 'BYSCORE', 'LIMIT', 0, 8)) do
  if taken < max and not skip[group] then reclaim(group) end
end

local function serve(group, count)
  local lane = p .. group
  local read = redis.pcall('XREADGROUP', 'GROUP', consumers, consumer, 'COUNT', count, 'STREAMS', lane, '>')
  if read and read.err then
    -- somebody emptied the server or dropped the consumer group while we worked
    if string.find(read.err, 'NOGROUP', 1, true) and redis.call('EXISTS', lane) == 1 then
      redis.call('XGROUP', 'CREATE', lane, consumers, '0')
      return serve(group, count)
    end
    redis.call('ZREM', lanes, group)
    return
  end
  local entries = read and read[1][2] or {}
  for _, entry in ipairs(entries) do give(group, entry, 1) end
  if #entries > 0 then redis.call('ZADD', leased, 'NX', now + lease, group) end
  if #entries < count then redis.call('ZREM', lanes, group)
  else redis.call('ZADD', lanes, nextTurn(), group) end
end

for round = 1, 50 do
  if taken >= max then break end
  local candidates = {}
  for _, group in ipairs(redis.call('ZRANGE', lanes, 0, skipped + max - 1)) do
    if not skip[group] and #candidates < max then candidates[#candidates + 1] = group end
  end
  if #candidates == 0 then break end
  local share = math.ceil((max - taken) / #candidates)
  for _, group in ipairs(candidates) do
    if taken < max then serve(group, math.min(share, max - taken)) end
  end
  if round == 50 and taken == 0 then more = 1 end
end
wake()
local rung = redis.call('XREVRANGE', bell, '+', '-', 'COUNT', 1)
out[1], out[2], out[3] = more, wait, rung[1] and rung[1][1] or '0-0'
return out`);

/**
 * ARGV: p, consumers, then group, entry, count of deliveries, consumer, message and delay in ms (-1: done) of each
 * lease. A lease that is no longer that consumer's is left alone. Answers an error text, or '', for each.
 */
export const settleScript = script(`
local results = {}
for at = 3, #ARGV, 6 do
  local group, entry, message, delay = ARGV[at], ARGV[at + 1], ARGV[at + 4], tonumber(ARGV[at + 5])
  local lane = p .. group
  local held = redis.pcall('XPENDING', lane, consumers, entry, entry, 1)
  local ours = not held.err and held[1] and held[1][2] == ARGV[at + 3] and held[1][4] == tonumber(ARGV[at + 2])
  local fault = ''
  if ours and delay == 0 then fault = ring(group, message) end
  if ours and delay > 0 then fault = later(group, message, delay) end
  if ours and fault == '' then
    redis.call('XACK', lane, consumers, entry)
    redis.call('XDEL', lane, entry)
    forgetIfEmpty(group)
  end
  results[#results + 1] = fault
end
wake()
return results`);

/**
 * ARGV: p, consumers, how many lanes, then the last group seen ('' to begin). Goes through both sets of lanes in order
 * of group. Answers the group to go on from ('' at the end), then for each lane: group, entries nobody has, entries
 * leased, and the id of the entry that would be handed out next ('' when there is none).
 */
export const surveyScript = script(`
local out, groups, known = { '' }, {}, {}
for _, set in ipairs({ lanes, leased }) do
  for _, group in ipairs(redis.call('ZRANGE', set, 0, -1)) do
    if group > ARGV[4] and not known[group] then
      known[group] = true
      groups[#groups + 1] = group
    end
  end
end
table.sort(groups)
local limit = math.min(#groups, tonumber(ARGV[3]))
for at = 1, limit do
  local lane = p .. groups[at]
  local described = redis.pcall('XINFO', 'GROUPS', lane)
  for _, fields in ipairs(described.err and {} or described) do
    local field = {}
    for i = 1, #fields, 2 do field[fields[i]] = fields[i + 1] end
    if field.name == consumers then
      local head = redis.call('XRANGE', lane, '(' .. field['last-delivered-id'], '+', 'COUNT', 1)
      out[#out + 1] = groups[at]
      out[#out + 1] = redis.call('XLEN', lane) - field.pending
      out[#out + 1] = field.pending
      out[#out + 1] = head[1] and head[1][1] or ''
    end
  end
end
if limit < #groups then out[1] = groups[limit] end
return out`);

/**
 * ARGV: p, consumers, the consumer that is at work, what the names of others of its own begin with, lease in ms, then
 * "group entry" of what it still knows of. Makes everything else that those others hold due at once: what a
 * predecessor took with it, and what was handed out in an answer that never came. Answers how many entries that were.
 */
export const releaseScript = script(`
local consumer, name, lease, count = ARGV[3], ARGV[4], tonumber(ARGV[5]), 0
local known = {}
for at = 6, #ARGV do known[ARGV[at]] = true end

local function release(group, owner)
  for _, held in ipairs(redis.call('XPENDING', p .. group, consumers, '-', '+', 1000, owner)) do
    if not known[group .. ' ' .. held[1]] then
      redis.call('XCLAIM', p .. group, consumers, owner, 0, held[1], 'IDLE', lease, 'JUSTID')
      redis.call('ZADD', leased, 'XX', now, group)
      count = count + 1
    end
  end
end

for _, group in ipairs(redis.call('ZRANGE', leased, 0, 999)) do
  local described = redis.pcall('XINFO', 'CONSUMERS', p .. group, consumers)
  for _, fields in ipairs(described.err and {} or described) do
    local field = {}
    for i = 1, #fields, 2 do field[fields[i]] = fields[i + 1] end
    if field.pending > 0 and field.name ~= consumer and string.sub(field.name, 1, #name) == name then
      release(group, field.name)
    end
  end
end
if count > 0 then added = true end
wake()
return count`);

function script(body: string): Script {
  const text = prelude + body;
  return { text, sha: createHash("sha1").update(text).digest("hex") };
}
