"""SparseFusion (Zhou and Tulsiani, CVPR 2023, arXiv 2212.00792): posed views to features at any camera, and views."""
