"""The weights that ship with the package, in `models/`."""

WEIGHTS_FILE = "compact.safetensors"
WEIGHTS_SHA256 = "9f652d0f1db9eaf9b977d00f243cd8823efbd6309a6e1461341709d8d49fc9cc"

# Small and little trained, for tests: `compact.weights` takes its path.
NANO_FILE = "compact-nano.safetensors"
NANO_SHA256 = "75121769f32b8f52226a43ddd729d0a7bce0f566328a5e07f100e28e4b93ef54"
