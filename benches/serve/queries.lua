-- POST /text-search with the lines of the file in BILIN_QUERIES, one after the other; with BILIN_UNIQUE each has a number of its own,
-- so that no cache has seen it. Prints what `done` counts as one line of JSON behind "RESULT ".
local queries, at, threads = {}, 0, 0
for line in io.lines(os.getenv("BILIN_QUERIES")) do queries[#queries + 1] = line end
local unique = os.getenv("BILIN_UNIQUE") == "1"
local head = { ["Content-Type"] = "application/json" }

function setup(thread)
  thread:set("offset", threads * 1000003)
  threads = threads + 1
end

function request()
  at = at + 1
  local text = queries[(at + offset) % #queries + 1]
  if unique then text = text .. " " .. (at + offset) .. os.getenv("BILIN_RUN") end
  return wrk.format("POST", "/text-search", head, '{"query":"' .. text .. '","top_k":3}')
end

function done(summary, latency)
  local e = summary.errors
  io.write(string.format('RESULT {"requests":%d,"seconds":%.3f,"p50":%.3f,"p95":%.3f,"p99":%.3f,"p999":%.3f,"errors":%d,"refused":%d}\n',
    summary.requests, summary.duration / 1e6, latency:percentile(50) / 1e3, latency:percentile(95) / 1e3, latency:percentile(99) / 1e3,
    latency:percentile(99.9) / 1e3, e.connect + e.read + e.write + e.timeout, e.status))
end
