-- For wrk: asks for the three pages in turn, so that a third of all requests is for /buy.
local paths = { "/", "/search", "/buy" }
local next_path = 0

function request()
  next_path = next_path % #paths + 1
  return wrk.format("GET", paths[next_path])
end
