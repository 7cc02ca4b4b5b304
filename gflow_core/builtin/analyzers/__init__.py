"""General analyzers: what any sampler can be measured with."""
