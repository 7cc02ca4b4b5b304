"""Random-matrix analysis for gflow (Seddik et al. 2020, arXiv 2001.08370): deep features of GAN images."""
