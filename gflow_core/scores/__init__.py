"""General analyzers, and comparing what runs scored."""
