"""The life of a run: build, train, record, analyze, resume, draw."""
