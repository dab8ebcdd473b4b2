import { name as nameSchema } from "../../model/types/names";

/**
 * How copies leave HAProxy (proven on 2.6). Its SPOE filter makes a request wait until the agent has acknowledged its copy,
 * so that an agent which is stopped costs each request the whole timeout. Here an action only puts the copy into a queue in
 * the worker's memory; a task of the same thread sends what has gathered, and waits for the agent's acknowledgement alone.
 * So if the agent is slow, stopped or away, only the queue fills, and a full one drops copies and counts them.
 *
 * Each thread has its own queue, task and connection, so that no lock is shared.
 */

/** Script beside the config; HAProxy reads it when a worker starts. */
export const SCRIPT_FILE = "mirror.lua";

/** Most copies, and bytes of them, in the queue of one thread. */
const QUEUE_COPIES = 4096;
const QUEUE_BYTES = 4 * 1024 * 1024;
/** Memory that Lua may take in one worker, in MiB: some 64 threads' queues; without more, copies fail and requests go on. */
export const LUA_MEMORY_MIB = 512;
/**
 * Pause between two reads of the queue: in steady use and, so that an idle edge costs nothing, after a while without
 * copies.
 */
const BUSY_PAUSE_MS = 10;
const IDLE_PAUSE_MS = 25;
/** Looks at an empty queue until a connection is given up; the agent keeps one open for longer. */
const IDLE_LOOKS = 200;
/** Time that the agent has to take a batch, in seconds. */
export const ACK_SECONDS = 10;
/** Pause between two attempts to reach the agent. */
const AWAY_PAUSE_MS = 250;

/** Longest message: a copy with the largest body and HAProxy's largest headers. */
export const MAX_MESSAGE = 4 * 1024 * 1024;

/**
 * First byte of a message. `hello` begins a batch with the thread's random name, the batch's number and the edge's name; `end` asks
 * for the acknowledgement. A batch without one is sent again under its number with its copies as dropped ones, so that each copy
 * counts once, whether the first had come or not.
 */
export const KIND = { copy: 1, dropped: 2, sample: 3, end: 4, hello: 6 } as const;
/** Bytes of a thread's random name, and of a batch's number. */
export const SOURCE_BYTES = 8;
export const NUMBER_BYTES = 6;

/**
 * Acknowledges everything up to an `end`: a line with the routes of which no more copies are wanted for now, each with
 * the reason for which they would be dropped. HAProxy then drops them itself, before it makes them.
 */
export function acknowledgement(refused: readonly (readonly [route: string, reason: string])[]): string {
  return `${refused.map(([route, reason]) => `${route}=${reason}`).join(" ")}\n`;
}

/** The script of an edge, in one piece to be read as the Lua that it is. @param socket path of the agent's mirror socket */
export function mirrorScript(edge: string, socket: string): string {
  return `-- Copies requests for the agent's mirror, written by Sluice.
local queue, pieces, count, bytes = {}, 0, 0, 0
local copies, drops, refused = {}, {}, {}
local number, unsure = 0, nil
local pack = string.pack

local urandom = assert(io.open("/dev/urandom", "rb"))
local source = urandom:read(${SOURCE_BYTES})
urandom:close()

local function add(drops, route, reason, copies)
  local key = pack("<s1s1", route, reason)
  drops[key] = (drops[key] or 0) + copies
end

local function drop(route, reason)
  add(drops, route, reason, 1)
end

local function put(txn, kind, route, body)
  local f = txn.f
  local headers = f:req_hdrs_bin()
  if not headers then return drop(route, "headers") end
  local head = pack("<Bs1s1s1s4s4", kind, route, f:method(), tostring(f:src() or ""), f:pathq() or "", headers)
  queue[pieces + 1], queue[pieces + 2], queue[pieces + 3] = pack("<I4", #head + #body), head, body
  pieces = pieces + 3
  count = count + 1
  bytes = bytes + #head + #body
  if kind == ${KIND.copy} then copies[route] = (copies[route] or 0) + 1 end
end

local function full()
  return count >= ${QUEUE_COPIES} or bytes >= ${QUEUE_BYTES}
end

core.register_action("mirror", { "http-req" }, function(txn, route, most)
  local why = refused[route] or full() and "queue"
  if why then return drop(route, why) end
  local f = txn.f
  local length = f:req_fhdr("content-length")
  if not length then
    if f:req_fhdr("transfer-encoding") then return drop(route, "unsized") end
    return put(txn, ${KIND.copy}, route, "")
  end
  length = tonumber(length)
  if not length or length > tonumber(most) then return drop(route, "body") end
  local body = length > 0 and f:req_body() or ""
  if #body ~= length then return drop(route, "incomplete") end
  put(txn, ${KIND.copy}, route, body)
end, 2)

core.register_action("sample", { "http-req" }, function(txn, route)
  if not full() then put(txn, ${KIND.sample}, route, "") end
end, 1)

local function open()
  local socket = core.tcp()
  socket:settimeout(${ACK_SECONDS})
  if socket:connect("unix@" .. ${luaText(socket)}) then return socket end
  socket:close()
end

-- Takes what has gathered: its text, and its copies by route.
local function take()
  local text, taken = table.concat(queue, "", 1, pieces), copies
  queue, pieces, count, bytes, copies = {}, 0, 0, 0, {}
  return text, taken
end

local function lose(drops, taken)
  for route, number in pairs(taken) do add(drops, route, "away", number) end
end

local function send(socket, dropped, text)
  local parts = { pack("<s4", pack("<B", ${KIND.hello}) .. source .. pack("<I${NUMBER_BYTES}", number) .. ${luaText(nameSchema.parse(edge))}) }
  for key, copies in pairs(dropped) do
    parts[#parts + 1] = pack("<s4", pack("<B", ${KIND.dropped}) .. key .. pack("<I4", copies))
  end
  parts[#parts + 1] = text
  parts[#parts + 1] = pack("<s4", pack("<B", ${KIND.end}))
  local batch = table.concat(parts)
  local answer = socket and socket:send(batch) == #batch and socket:receive("*l")
  refused = {}
  if not answer then return false end
  for route, reason in answer:gmatch("(%S+)=(%S+)") do refused[route] = reason end
  return true
end

-- Loses what has gathered while nobody took a batch: it would come too late.
local function fail()
  local _, taken = take()
  lose(drops, taken)
  return false
end

local function deliver(socket)
  if unsure and not send(socket, unsure, "") then return fail() end
  number = number + 1
  local dropped, text, taken = drops, take()
  unsure, drops = dropped, {}
  if send(socket, dropped, text) then
    unsure = nil
    return true
  end
  lose(unsure, taken)
  return fail()
end

core.register_task(function()
  local socket
  local idle = 0
  while true do
    if count > 0 or unsure or next(drops) then
      idle = 0
      if not socket then socket = open() end
      if not deliver(socket) then
        if socket then socket:close() end
        socket = nil
        core.msleep(${AWAY_PAUSE_MS})
      end
    else
      idle = idle + 1
      if idle == ${IDLE_LOOKS} and socket then
        socket:close()
        socket = nil
      end
    end
    core.msleep(idle < ${IDLE_LOOKS} and ${BUSY_PAUSE_MS} or ${IDLE_PAUSE_MS})
  end
end)
`;
}

/** A text as a literal of Lua; every character that could end or change it is written as its number. */
export function luaText(text: string): string {
  const escaped = [...Buffer.from(text)].map((byte) => {
    const character = String.fromCharCode(byte);
    return /[A-Za-z0-9_./-]/.test(character) ? character : `\\${String(byte).padStart(3, "0")}`;
  });
  return `"${escaped.join("")}"`;
}
