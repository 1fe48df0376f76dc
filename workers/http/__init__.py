"""An HTTP client on libcurl, for many requests to one URL. It does not depend on the rest of this program."""
