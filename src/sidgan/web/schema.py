"""Request and response bodies of the API; FastAPI generates the OpenAPI description from them."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from sidgan.web.queue import Work
from sidgan.web.store import Kept

Id = Annotated[str, Field(pattern=r"^[0-9a-f]{32}$", description="id of a file or job")]
FileKind = Literal["video", "voice"]
State = Literal["waiting", "running", "done", "failed", "cancelled"]
MAX_PEOPLE = 20


class Given(BaseModel):
    """A request body; unknown names are errors."""

    model_config = ConfigDict(extra="forbid")


class Part(Given):
    """A voice for a person."""

    person: Annotated[int | None, Field(ge=1, le=1000, description="number of a person in the result of a look; "
                                        "without one, the most prominent face of each moment")] = None  # fmt: skip
    voice: Annotated[Id, Field(description="a voice, or a video whose sound is the voice")]


class Dub(Given):
    """How a video is dubbed."""

    video: Annotated[Id, Field(description="a video, or a photo that is to speak")]
    cast: Annotated[list[Part], Field(min_length=1, max_length=MAX_PEOPLE)]
    consent: Annotated[Literal[True], Field(description="everybody who is seen or heard agreed to this use; anything "
                                            "but true is refused")]  # fmt: skip
    background: Annotated[Literal["original"] | Id | None, Field(
        description="heard under the voices: music and effects as a file, or the video's own sound without its speech")
    ] = None  # fmt: skip
    match_loudness: Annotated[bool, Field(description="make each voice as loud as the video's own sound")] = False
    silence: Annotated[Literal["close", "keep", "draw"], Field(description="mouths where the voice pauses")] = "close"
    emphasis: Annotated[float, Field(ge=0, le=3, description="how strongly the mouth moves, relative to what suits the "
                                     "weights")] = 1.0  # fmt: skip

    @model_validator(mode="after")
    def _possible(self) -> Dub:
        people = [part.person for part in self.cast]
        if len(set(people)) < len(people):
            raise ValueError("each person can have one voice")
        if None in people and len(people) > 1:
            raise ValueError("with several voices, give the person of each")
        return self


class WholeDub(Dub):
    """Dub a whole video."""

    kind: Literal["dub"]
    priority: Annotated[int, Field(ge=-1, le=1, description="among your own jobs")] = 0
    length: Annotated[Literal["cut", "hold", "loop", "pingpong", "keep"], Field(
        description="where the voice is longer or shorter than the video; a photo lasts as long as the voice")
    ] = "cut"  # fmt: skip
    adapt: Annotated[float | None, Field(
        ge=0.1, le=60, description="minutes of adaptation to the faces first; not to those of a photo")
    ] = None  # fmt: skip
    on_damage: Annotated[Literal["stop", "pass"], Field(description="if the video is damaged")] = "stop"

    @model_validator(mode="after")
    def _one_sound(self) -> WholeDub:
        if self.background is not None and self.length == "keep":
            raise ValueError("background cannot go with length keep: each decides what follows a shorter voice")
        return self


class Preview(Dub):
    """Dub a few seconds as a video (``preview``), or one frame as an image (``frame``)."""

    kind: Literal["frame", "preview"]
    at: Annotated[float, Field(ge=0, le=1e6, description="time of the frame or of the preview's start, in seconds: of "
                               "the video, or of the voice if a photo speaks")]  # fmt: skip


class Look(Given):
    """Find the people in a video."""

    kind: Literal["look"]
    video: Id


Order = Annotated[WholeDub | Preview | Look, Field(discriminator="kind")]


class Priority(Given):
    """A new priority for an unfinished job."""

    priority: Annotated[int, Field(ge=-1, le=1)]


class Login(Given):
    """A token, for a session on the page."""

    token: Annotated[str, Field(min_length=1, max_length=500)]


class Me(BaseModel):
    """The current user and the limits."""

    known: bool
    needs_token: bool
    name: str | None
    version: str
    separates: Annotated[bool, Field(description="whether a background may be the video's own sound")]
    limits: dict[str, float]


class FileOut(BaseModel):
    """An uploaded file. Times are seconds since the epoch."""

    id: str
    kind: FileKind
    name: str
    bytes: int
    seconds: float
    sound: bool
    still: Annotated[bool, Field(description="a photo, which is shown for as long as the voice lasts")] = False
    width: int = 0
    height: int = 0
    rate: float = 0.0
    created: float
    expires: float
    url: str

    @classmethod
    def of(cls, file: Kept) -> FileOut:
        """The public fields of a file."""
        values = {name: getattr(file, name) for name in ("id", "kind", "name", "bytes", "created", "expires")}
        facts = {name: value for name, value in file.facts.items() if name in cls.model_fields}
        return cls(**values, **facts, url=f"/api/files/{file.id}/content")


class JobOut(BaseModel):
    """The state of a job. Times are seconds since the epoch."""

    id: str
    kind: Literal["look", "frame", "preview", "dub"]
    state: State
    priority: int
    spec: dict[str, Any]
    share: float
    stage: str
    ahead: int
    notes: list[str]
    error: str | None
    result: dict[str, Any] | None
    urls: dict[str, str]
    attempts: int
    created: float
    started: float | None
    ended: float | None
    expires: float

    @classmethod
    def of(cls, work: Work, ahead: int = 0) -> JobOut:
        """The public fields of a job; ``ahead`` is the number of jobs before it."""
        files = (work.result or {}).get("files", ())
        values = {name: getattr(work, name) for name in cls.model_fields if name not in ("ahead", "urls")}
        return cls(**values, ahead=ahead, urls={name: f"/api/jobs/{work.id}/files/{name}" for name in files})


class Problem(BaseModel):
    """The body of every error response."""

    class What(BaseModel):
        """A code of one word for programs, and a message of one line for people."""

        code: str
        message: str

    error: What
