"""The pages: dashboard, API documentation, their files."""
