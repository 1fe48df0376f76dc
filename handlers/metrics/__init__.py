"""What the server measures about itself, and the formats in which it is read."""
