"""Tests of the dashboard. As a package, they share the fixtures with the scope `package`: a browser and a server."""
