"""The systems that the paper compares with (Sec. 4), each as a generator that is trained and used like ours."""

from sidgan.config import GeneratorConfig
from sidgan.nn.baselines.base import Baseline
from sidgan.nn.baselines.critics import Critics, critic
from sidgan.nn.baselines.lipgan import LipGAN
from sidgan.nn.baselines.pcavs import PCAVS
from sidgan.nn.baselines.wav2lip import Wav2Lip
from sidgan.nn.generator import Generator

KINDS: dict[str, type[Generator]] = {
    "sidgan": Generator, "lipgan": LipGAN, "wav2lip": Wav2Lip, "wav2lip384": Wav2Lip, "pcavs": PCAVS,
}  # fmt: skip


def build(config: GeneratorConfig) -> Generator:
    """A new generator of the config's ``kind``."""
    return KINDS[config.kind](config)


__all__ = ["KINDS", "PCAVS", "Baseline", "Critics", "LipGAN", "Wav2Lip", "build", "critic"]
