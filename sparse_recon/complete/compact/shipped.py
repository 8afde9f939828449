"""The weights that ship with the package, in `models/`."""

WEIGHTS_FILE = "compact.safetensors"
WEIGHTS_SHA256 = "19feb085ad16b14e247ba3a010501a96a970274892603b7c923546764df56780"

# Small and little trained, for tests: `compact.weights` takes its path.
NANO_FILE = "compact-nano.safetensors"
NANO_SHA256 = "75121769f32b8f52226a43ddd729d0a7bce0f566328a5e07f100e28e4b93ef54"
