"""The pages for people: the dashboard and the API documentation."""
