-- wrk: POST the file $BODY with the content type $TYPE; one JSON line at the end.
wrk.method = "POST"
wrk.body = io.open(os.getenv("BODY"), "rb"):read("*a")
wrk.headers["Content-Type"] = os.getenv("TYPE")

function done(summary, latency)
  local e = summary.errors
  io.write(string.format('\n{"answered":%d,"failed":%d,"seconds":%f,"p50":%f,"p99":%f}\n', summary.requests - e.status,
    e.connect + e.read + e.write + e.status + e.timeout, summary.duration / 1e6,
    latency:percentile(50) / 1e3, latency:percentile(99) / 1e3))
end
