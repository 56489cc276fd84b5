"""The models of a server: opened on demand, closed when another one needs the place.

Each open model has an engine of its own. The least recently used one that no request uses is
closed first. If all are in use, the least recently used one takes no new requests until it is
closed, so that no model waits for ever. Models are opened one at a time, in a thread.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import AsyncIterator, Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import asynccontextmanager
from contextvars import copy_context
from copy import deepcopy
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Literal

from ogpt.config.model import OpenAIGPTConfig
from ogpt.decoding.choice import open_decoder
from ogpt.decoding.options import BATCH_SIZE, DecoderOptions
from ogpt.errors import (
    ConfigError,
    EngineError,
    EngineUnavailable,
    OgptError,
    QueueFull,
    UnknownModel,
)
from ogpt.folders.model_folder import ModelFolder
from ogpt.generation.protocol.decoder import Decoder
from ogpt.notices import Notice, leaving_out
from ogpt.serving.engine import Engine, Health
from ogpt.serving.request_stream import RequestTimes
from ogpt.serving.running_batch import EngineCounters
from ogpt.serving.task_head import TaskHead, has_task
from ogpt.tokens.bpe_tokenizer import BPETokenizer
from ogpt.weights.model_weights import weights_file
from ogpt.weights.shapes import WITH_HEAD, weight_shapes

LOGGER = logging.getLogger(__name__)

DEFAULT = "default"
"""Name of the first model, unless another one has it."""

PATIENCE = 30.0
"""Seconds that a model waits for a place while all open ones are in use."""

State = Literal["unloaded", "loading", "failed"] | Health
"""unloaded: opened on demand; failed: as unloaded, and the last attempt to open it failed."""


@dataclass(frozen=True, slots=True)
class ServedModel:
    """An open model."""

    name: str
    folder: ModelFolder
    config: OpenAIGPTConfig
    tokenizer: BPETokenizer
    created: int
    """When its weights were written, in seconds since 1970."""
    head: TaskHead | None
    """None: it was not fine-tuned on a task."""
    options: DecoderOptions
    engine: Engine


@dataclass(slots=True, eq=False)
class _Place:
    """A model of the server, open or not."""

    name: str
    folder: ModelFolder
    config: OpenAIGPTConfig
    created: int
    head: TaskHead | None
    counters: EngineCounters = field(default_factory=EngineCounters)
    served: ServedModel | None = None
    loading: Future[ServedModel] | None = None
    failed: bool = False
    users: set[object] = field(default_factory=set)
    """Requests that use it."""
    waiting: set[object] = field(default_factory=set)
    """Requests that wait until it is opened."""
    leaving: bool = False
    """It is closed when its users have ended; new requests wait until it is opened again."""

    @property
    def idle(self) -> bool:
        """Whether it can be closed."""
        return not self.users and (self.leaving or not self.waiting)


class ServedModels:
    """The models of a server, by name.

    Folders are checked at once, also their tokenizers, the headers of weights and the heads of
    tasks; decoders are opened on demand. Methods that are no coroutines may be called from any
    thread.

    Args:
        specs: Model folder, run, or id of the Hub, by the name that requests use. The first one is
            the default.
        options: Which decoder runs the models, and how.
        slots: Number of texts that a model generates at once; each holds a KV cache.
        max_queued: See Engine.
        max_time: See Engine.
        in_memory: Number of models open at once, 1 or more.
        patience: Seconds that a model waits for a place while all open ones are in use.

    Attributes:
        on_end: Receives the name of the model and the times of each request that has ended; see
            `engine.OnEnd`.

    Raises:
        ConfigError: no models, or a number outside its range.
        CheckpointError: a folder that is no model; HubError: a failed download.
        WeightsError: a folder without weights, or without the head of its task.
    """

    def __init__(
        self,
        specs: Mapping[str, str | Path | ModelFolder],
        options: DecoderOptions | None = None,
        *,
        slots: int = BATCH_SIZE,
        max_queued: int = 64,
        max_time: float | None = None,
        in_memory: int = 1,
        patience: float = PATIENCE,
    ) -> None:
        if not specs:
            raise ConfigError("there are 0 models to serve; allowed: 1 or more", hint="pass one")
        if in_memory < 1:
            raise ConfigError(
                f"in_memory is {in_memory}; allowed: 1 or more", hint="omit it for one model"
            )
        self._places = {name: _place(name, spec) for name, spec in specs.items()}
        self._options = options or DecoderOptions()
        self._slots = slots
        self._max_queued = max_queued
        self._max_time = max_time
        self._in_memory = in_memory
        self.on_end: Callable[[str, RequestTimes], None] = lambda name, times: None
        self._patience = patience
        self._changed = threading.Condition()  # guards the places and all below
        self._open: dict[str, _Place] = {}  # least recently used first
        self._draining = False
        self._context = copy_context()  # notices of loading go where those of this call go
        self._loader = ThreadPoolExecutor(1, thread_name_prefix="ogpt-load")

    @property
    def names(self) -> list[str]:
        """The names of the models."""
        return list(self._places)

    @property
    def default(self) -> str:
        """The name of the first model."""
        return self.names[0]

    @property
    def folders(self) -> dict[str, ModelFolder]:
        """The model folders, by name."""
        return {name: place.folder for name, place in self._places.items()}

    @property
    def created(self) -> dict[str, int]:
        """When the weights were written, in seconds since 1970, by name."""
        return {name: place.created for name, place in self._places.items()}

    def name_of(self, asked: str | None = None) -> str:
        """The name of the model that a request asks for.

        Args:
            asked: Its `model`; None or "default": the first one.

        Raises:
            UnknownModel: there is no such model.
        """
        if asked is None or (asked == DEFAULT and DEFAULT not in self._places):
            return self.default
        if asked not in self._places:
            raise UnknownModel(
                f"the model is {asked!r}; allowed: {', '.join(map(repr, self._places))}",
                hint="pass one of these, or omit model for the first one",
            )
        return asked

    def states(self) -> dict[str, State]:
        """Whether each model is open, and whether it accepts requests."""
        with self._changed:
            return {name: _state(place) for name, place in self._places.items()}

    def loaded(self) -> list[ServedModel]:
        """The open models, the least recently used one first."""
        with self._changed:
            return [place.served for place in self._open.values() if place.served is not None]

    def counters(self) -> dict[str, EngineCounters]:
        """A copy of the counters of each model, which closing it does not reset."""
        with self._changed:
            return {
                name: place.served.engine.counters() if place.served else deepcopy(place.counters)
                for name, place in self._places.items()
            }

    @asynccontextmanager
    async def using(self, name: str | None = None) -> AsyncIterator[ServedModel]:
        """A model, opened if it is not open; it stays open until the end of the block.

        Args:
            name: See `name_of`.

        Raises:
            UnknownModel: there is no such model.
            EngineUnavailable: the server drains, or the model cannot be opened.
            QueueFull: all open models are in use.
        """
        place, request = self._places[self.name_of(name)], object()
        with self._changed:
            found = self._opened(place)
            (place.waiting if isinstance(found, Future) else place.users).add(request)
        try:
            if isinstance(found, Future):  # a request that leaves does not stop it for the others
                found = await asyncio.shield(asyncio.wrap_future(found))
            yield found
        finally:
            with self._changed:
                place.waiting.discard(request)
                place.users.discard(request)
                self._changed.notify_all()

    async def drain(self, timeout: float | None = None) -> bool:
        """Accept no more requests, finish all there are, then close.

        Args:
            timeout: Seconds; what has not ended then, ends with an error. None: no limit.

        Returns:
            Whether all requests were finished.
        """
        with self._changed:
            self._draining = True
            self._changed.notify_all()
        engines = [served.engine for served in self.loaded()]
        done = await asyncio.gather(*(asyncio.to_thread(one.drain, timeout) for one in engines))
        await asyncio.to_thread(self.close)
        return all(done)

    def close(self) -> None:
        """End all requests with an error and close all models; a second call does nothing."""
        with self._changed:
            self._draining = True
            self._changed.notify_all()
        self._loader.shutdown()
        for served in self.loaded():
            served.engine.close()

    def _opened(self, place: _Place) -> ServedModel | Future[ServedModel]:
        """The model, used last from now, or the future of it; the lock is held."""
        if place.served is not None and not place.leaving:
            self._open[place.name] = self._open.pop(place.name)
            return place.served
        if place.loading is None:
            self._require_no_drain()
            place.loading = self._loader.submit(self._context.copy().run, self._load, place)
        return place.loading

    def _load(self, place: _Place) -> ServedModel:
        """Open a model; runs in the thread of the loader."""
        try:
            if place.served is not None:  # another one was closed in its place
                return self._in_use(place, place.served)
            self._make_room()
            tokenizer = place.folder.tokenizer
            engine = Engine(
                partial(_open, place.folder, self._options, self._slots),
                tokenizer,
                max_queued=self._max_queued,
                max_time=self._max_time,
                counters=place.counters,
                on_end=lambda times: self.on_end(place.name, times),
            )
            found = (place.name, place.folder, place.config, tokenizer, place.created, place.head)
            served = ServedModel(*found, self._options, engine)
            return self._in_use(place, served)
        except EngineError:
            raise
        except OgptError as error:
            # clients need not know where models lie
            LOGGER.error("the model %r cannot be opened: %s (%s)", place.name, error, error.hint)
            raise EngineUnavailable(
                f"the model {place.name!r} cannot be opened; the server's log has the reason",
                hint="use another model, or send the request again later",
            ) from error
        finally:
            with self._changed:
                place.failed, place.loading = place.served is None, None

    def _in_use(self, place: _Place, served: ServedModel) -> ServedModel:
        """Give a model to those who wait for it, before it can be closed again."""
        with self._changed:
            self._open.pop(place.name, None)
            place.served, self._open[place.name] = served, place
            place.users |= place.waiting
            place.waiting.clear()
        return served

    def _make_room(self) -> None:
        """Close the least recently used model that is not in use, if there are too many."""
        with self._changed:
            leaving = None
            if not self._has_room():
                leaving = next(iter(self._open.values()))
                leaving.leaving = True
            self._changed.wait_for(lambda: self._draining or self._has_room(), self._patience)
            closed = next((each for each in self._open.values() if each.idle), None)
            if leaving is not None:
                leaving.leaving = False
            self._require_no_drain()
            if len(self._open) < self._in_memory:
                return
            if closed is None or closed.served is None:
                raise QueueFull(
                    f"all {len(self._open)} open models are in use, and {self._in_memory} may be "
                    "open at once",
                    hint="send the request again later",
                )
            engine, closed.served = closed.served.engine, None
            del self._open[closed.name]
        engine.close()

    def _has_room(self) -> bool:
        """Whether a model can be opened now; the lock is held."""
        return len(self._open) < self._in_memory or any(one.idle for one in self._open.values())

    def _require_no_drain(self) -> None:
        if self._draining:
            raise EngineUnavailable(
                "the server is draining; allowed: ready",
                hint="send the request again later, or to another server",
            )


def _place(name: str, spec: str | Path | ModelFolder) -> _Place:
    folder = ModelFolder.open(spec)
    weights = "weights" if folder.quantized is None else "quantized_weights"
    for part in ("config", "tokenizer", weights):
        getattr(folder, part)  # raises an error where it is damaged
    created = weights_file(folder.path, folder.variant).stat().st_mtime
    head = TaskHead.open(folder) if has_task(folder) else None
    return _Place(name, folder, folder.config, int(created), head)


def _open(folder: ModelFolder, options: DecoderOptions, slots: int) -> Decoder:
    """Open a decoder, without the notice that it does not use a head: `TaskHead` does."""
    config, kind = folder.config, folder.architecture
    shapes = weight_shapes(config, kind) if kind in WITH_HEAD else {}
    heads = sorted(shapes.keys() - weight_shapes(config).keys())

    def is_head(notice: Notice) -> bool:
        report = str(notice.fields.get("report"))
        return notice.kind == "weights-not-from-file" and report.endswith(f": {', '.join(heads)}")

    with leaving_out(is_head):
        return open_decoder(folder, options, slots=slots)


def _state(place: _Place) -> State:
    if place.served is not None:
        return place.served.engine.health
    if place.loading is not None:
        return "loading"
    return "failed" if place.failed else "unloaded"
