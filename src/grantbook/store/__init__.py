"""Where the book is kept. `port` says what every store promises; `tests/conformance` holds them to it."""
