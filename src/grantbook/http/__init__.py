"""The server: FastAPI for management, the error envelope, authentication, idempotency. Nothing below knows HTTP."""
