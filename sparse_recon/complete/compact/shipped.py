"""The weights that ship with the package, in `models/`."""

WEIGHTS_FILE = "compact.safetensors"
WEIGHTS_SHA256 = "19feb085ad16b14e247ba3a010501a96a970274892603b7c923546764df56780"
