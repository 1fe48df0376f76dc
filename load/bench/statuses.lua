-- Counts every status except 202. This slows wrk down, because wrk then makes a table of all headers.
local statuses = {}

function response(status)
  if status == 202 then return end
  statuses[status] = (statuses[status] or 0) + 1
  local parts = {}
  for each, times in pairs(statuses) do parts[#parts + 1] = string.format('"%d": %d', each, times) end
  statuses_as_json = "{" .. table.concat(parts, ", ") .. "}"
end
