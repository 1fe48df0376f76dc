"""An HTTP client on libcurl, for many requests to one URL. Depends only on `workers.backoff`."""
