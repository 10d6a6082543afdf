"""The main job on embedded SQLite, measured: `python -m benchmarks`. README.md says what the numbers mean."""
