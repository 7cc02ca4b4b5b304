"""VGrow: deep generative learning via variational gradient flow (Gao et al., ICML 2019)."""
