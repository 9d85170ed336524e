-- wrk script: POST the file $BODY with the header lines $HEADERS; prints a LoadResult as one line of JSON at the end.
wrk.method = "POST"
wrk.body = io.open(os.getenv("BODY"), "rb"):read("*a")
for name, value in string.gmatch(os.getenv("HEADERS"), "([^:\n]+): ([^\n]*)") do
  wrk.headers[name] = value
end

function done(summary, latency)
  local e = summary.errors
  io.write(string.format('\n{"succeeded":%d,"failed":%d,"seconds":%f,"p50_ms":%f,"p99_ms":%f}\n',
    summary.requests - e.status, e.connect + e.read + e.write + e.status + e.timeout, summary.duration / 1e6,
    latency:percentile(50) / 1e3, latency:percentile(99) / 1e3))
end
