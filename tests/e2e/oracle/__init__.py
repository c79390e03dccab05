"""CEL by the API server's own code, and expressions to ask it about."""
