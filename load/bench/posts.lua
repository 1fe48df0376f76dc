-- Sends POST /order with ascending ids. `head` has the place for the length of the body, `body` those for two numbers.
local head, body, order_id = $head, $body, $first_id - 1

function request()
  order_id = order_id + 1
  local order = string.format(body, order_id, order_id * $stride % $users + 1)
  return string.format(head, #order) .. order
end
