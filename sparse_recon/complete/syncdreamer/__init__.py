"""SyncDreamer (Liu et al., ICLR 2024, arXiv 2309.03453): sixteen views drawn together, through a volume they share."""
