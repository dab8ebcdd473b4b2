-- Requests at a steady pace on each connection, every fifth with a body; so the proxies have time to spare, as in production.
local body = string.rep("x", 2048)
local sent = 0
wrk.headers["content-type"] = "text/plain"

function delay()
  return math.random(10, 30)
end

function request()
  sent = sent + 1
  if sent % 5 == 0 then return wrk.format("POST", nil, nil, body) end
  return wrk.format("GET")
end
