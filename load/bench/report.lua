-- Prints the result as JSON in the last line. wrk calls `done` in another Lua state, which can read the globals of the
-- state of `request` and `response`.
statuses_as_json = statuses_as_json or "{}"
local thread
function setup(only_thread) thread = only_thread end

function done(summary)
  local errors = summary.errors
  io.write(string.format(
    '\n{"answers": %d, "elapsed_us": %d, "statuses": %s, "refused": %d, "errors": '
      .. '{"connect": %d, "read": %d, "write": %d, "timeout": %d}}\n',
    summary.requests, summary.duration, thread:get("statuses_as_json"), errors.status,
    errors.connect, errors.read, errors.write, errors.timeout))
end
