"""What networks are made of: blocks, normalisation, labels, laws of z, and options that several of them share."""
