"""FAR: fake as real in GANs (CVPR 2020, arXiv 1912.12485)."""
