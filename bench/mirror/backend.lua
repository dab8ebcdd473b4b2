-- Answers after 5 to 15 ms. A service of HAProxy's, since it takes less of the shared cores than most real servers.
core.register_service("answer", "http", function(applet)
  while #applet:receive() > 0 do end
  core.msleep(math.random(5, 15))
  applet:set_status(200)
  applet:add_header("content-length", "2")
  applet:start_response()
  applet:send("ok")
end)
