"""CGAN: conditional generative adversarial nets (2014, arXiv 1411.1784)."""
