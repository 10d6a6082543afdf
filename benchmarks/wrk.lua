-- Sends the requests of a file in turn, over and over: one a line, method, path and body between tabs.
-- Prints one JSON line at the end, latencies in microseconds.

local requests, position = {}, 0

function init(args)
  local headers = { ["Content-Type"] = "application/json", ["X-API-Key"] = os.getenv("BENCHMARK_KEY") }
  for line in io.lines(args[1]) do
    local method, path, body = line:match("^(%u+)\t(%S+)\t(.*)$")
    requests[#requests + 1] = wrk.format(method, path, headers, body ~= "" and body or nil)
  end
end

function request()
  position = position % #requests + 1
  return requests[position]
end

function done(summary, latency)
  local errors = summary.errors
  io.write(string.format(
    '{"requests": %d, "seconds": %f, "refused": %d, "broken": %d, "p50_us": %d, "p99_us": %d}\n',
    summary.requests, summary.duration / 1e6, errors.status,
    errors.connect + errors.read + errors.write + errors.timeout, latency:percentile(50), latency:percentile(99)))
end
