"""The server's manners, whatever the dialect: errors, keys, bodies, idempotency, revisions, pages, decisions."""
