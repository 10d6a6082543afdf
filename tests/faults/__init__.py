"""What the server promises when it is killed, stopped or crowded."""
