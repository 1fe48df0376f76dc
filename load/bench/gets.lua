-- Sends GET /order/{id} for $count ids that are chosen at random before the first request, and repeats them.
local requests, sent = {}, 0
math.randomseed($seed)
for number = 1, $count do
  requests[number] = $before .. string.format("%d", math.random($stored)) .. $after
end

function request()
  sent = sent % $count + 1
  return requests[sent]
end
