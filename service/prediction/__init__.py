"""One predict request without a server: request body -> batch -> result -> JSON."""
