"""What a part is and where it comes from: nouns, contracts, options, registries, plugins."""
