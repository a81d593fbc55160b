"""The training loop and the two things it trains."""

from importlib.util import find_spec

from sidgan.errors import ConfigError

if find_spec("lightning") is None:
    raise ConfigError("adapting and training need Lightning, which is not installed; run: pip install 'sidgan[train]'")
