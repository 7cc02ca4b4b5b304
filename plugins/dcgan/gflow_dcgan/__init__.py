"""DCGAN: deep convolutional generative adversarial networks (ICLR 2016, arXiv 1511.06434)."""
