"""Where it computes: device, precision, processes, random streams, signals, workers."""
