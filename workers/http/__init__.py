"""An HTTP client on libcurl, for many requests to one URL. It knows nothing of orders."""
