"""An HTTP client on libcurl, for many requests to one URL. It depends on `workers.backoff` alone."""
