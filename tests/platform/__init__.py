"""The platform dialect: its official SDK and its reference pages, word for word, against a real server."""
