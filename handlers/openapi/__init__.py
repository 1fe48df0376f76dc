"""The API's description of itself: OpenAPI 3.1, made from the types that validate and answer."""
