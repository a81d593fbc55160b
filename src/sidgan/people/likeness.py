"""What the network is shown of a person: a few reference pictures, and what is known about them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sidgan.blend.focus import clarity
from sidgan.blend.light import levelled
from sidgan.people.opening import completed
from sidgan.types import Byte, Float


@dataclass(frozen=True, eq=False)
class Likeness:
    """K reference pictures of a face, with lips closed, open and shut, as far as K reaches.

    Attributes:
        pictures: (K, S, S, 3) uint8 RGB, all in one light.
        points: (K, 68, 2) unit landmarks of the face in them.
        light: (3,) that light, see `sidgan.blend.light`.
        clear: (B, 2) how sharp they are, see `sidgan.blend.focus`.
    """

    pictures: Byte
    points: Float
    light: Float
    clear: Float

    @classmethod
    def of(cls, pictures: Sequence[Byte], points: Float, mute: bool = False) -> Likeness:
        """The likeness in K pictures (S, S, 3) of a face.

        Args:
            pictures: as they were filmed.
            points: (K, 68, 2) unit landmarks.
            mute: whether the video shows no open lips or no shut ones, so that such a picture is made (`completed`).
        """
        levels, light = levelled(pictures, points)
        return cls(completed(levels, points, mute), points, light, clarity(levels, points))
