"""Zero-1-to-3 (Liu et al., ICCV 2023, arXiv 2303.11328): one image and a camera move give the moved image."""
