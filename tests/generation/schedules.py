"""Random schedules of texts that join, run and leave, and what each text generates alone."""

from __future__ import annotations

import random
from dataclasses import dataclass
from functools import cache
from typing import Any

from ogpt.generation.choosing.rules import rules
from ogpt.generation.choosing.settings import GenerationSettings
from ogpt.generation.protocol.decoder import Decoder
from ogpt.generation.searching.beam import Beams
from ogpt.generation.searching.contrastive import Contrastive
from ogpt.generation.searching.sampling import Sampling
from ogpt.generation.searching.stepper import Stepper
from ogpt.generation.searching.text import Choosing, Event, Failed, Text
from tests.native.models import native, random_ids, small_model

N_POSITIONS = 200  # three pages of the native cache
SLOTS = 5
TEXTS = 120
_BASES = [random_ids(N_POSITIONS, 53, seed) for seed in range(3)]


@cache
def decoder() -> Decoder:
    """A tiny native decoder, shared, as every Stepper empties its slots."""
    model = small_model(7, n_positions=N_POSITIONS, vocab_size=53, n_embd=32, n_head=2)
    return native(model, slots=SLOTS)


@dataclass(frozen=True)
class Asked:
    """A text that can be made again and again."""

    prompt: list[int]
    settings: GenerationSettings
    number: int
    top_logprobs: int

    def text(self) -> Text:
        ruled = rules(self.settings, decoder().vocab_size)
        choosing = Choosing(self.settings, ruled, top_logprobs=self.top_logprobs)
        if self.settings.num_beams > 1:
            return Beams(decoder(), self.prompt, choosing, number=self.number)
        if self.settings.penalty_alpha:
            return Contrastive(decoder(), self.prompt, choosing)
        return Sampling(decoder(), self.prompt, choosing, self.number)


def _settings(draw: random.Random) -> dict[str, Any]:
    kind = draw.choice(["greedy", "sampled", "sampled", "sampled", "beams", "contrastive"])
    if kind == "contrastive":
        return {"do_sample": False, "penalty_alpha": 0.6, "top_k": draw.randint(2, 4)}
    sampled = {
        "do_sample": kind != "greedy",
        "temperature": draw.choice([0.5, 1.0, 1.5]) if kind != "greedy" else 1.0,
        "top_k": draw.choice([0, 9]),
        "top_p": draw.choice([1.0, 0.9]),
        "seed": draw.randrange(2**40),
    }
    if kind != "beams":
        return sampled
    if draw.random() < 0.3:
        return {"do_sample": False, "num_beams": 4, "num_beam_groups": 2, "diversity_penalty": 1.0}
    beams = draw.randint(2, 4)
    return {**sampled, "do_sample": draw.random() < 0.5, "num_beams": beams}


def _asked(seed: int) -> Asked:
    """Prompts begin like others, and some of them are the same; long ones slide."""
    draw = random.Random(seed)
    base = draw.choice(_BASES)
    shared = draw.choice([0, 3, 64, 70, 128, 150, N_POSITIONS - 20, N_POSITIONS])
    own = random_ids(draw.randint(1, 12), 53, draw.choice([1, 2, seed]))
    settings = GenerationSettings(
        max_new_tokens=draw.randint(1, 14),
        eos_token_id=draw.choice([(), (5, 9)]),
        repetition_penalty=draw.choice([1.0, 1.0, 1.2]),
        no_repeat_ngram_size=draw.choice([0, 0, 3]),
        **_settings(draw),
    )
    prompt = [*base[:shared], *own]
    if settings.num_beams > 1 or settings.penalty_alpha:  # these have no sliding window
        prompt = prompt[: N_POSITIONS - settings.max_new_tokens]
    return Asked(prompt, settings, draw.randrange(3), draw.choice([0, 0, 2]))


def _unnumbered(event: Event) -> Event:
    return event._replace(continuation=0)


@cache
def alone(seed: int) -> list[Event]:
    """The events of a text that has the decoder to itself."""
    stepper = Stepper(decoder())
    stepper.add(_asked(seed).text())
    return [_unnumbered(event) for event in stepper.run()]


def same(seed: int) -> bool:
    """Whether each text of a random schedule has the events that it has alone, bit for bit.

    Of a text that is cancelled, those up to then. Chunks of prompts are of a random size.
    """
    draw = random.Random(seed)
    stepper = Stepper(decoder(), prompt_tokens=draw.choice([0, 1, 17, 64, 100, 256]))
    waiting = [draw.randrange(TEXTS) for _ in range(draw.randint(2, 12))]
    texts: dict[int, int] = {}
    found: dict[int, list[Event]] = {}
    cancelled: set[int] = set()
    while waiting or not stepper.idle:
        action = draw.random()
        if waiting and action < 0.4:
            number = stepper.add(_asked(waiting[-1]).text())
            texts[number], found[number] = waiting.pop(), []
        elif texts and action < 0.45:
            number = draw.choice(list(texts))
            stepper.cancel(number)
            cancelled.add(number)
        else:
            for event in stepper.step():
                if event.continuation in cancelled or isinstance(event, Failed):
                    return False
                found[event.continuation].append(_unnumbered(event))
    stepper.close()
    return all(
        events == alone(texts[number])[: len(events) if number in cancelled else None]
        for number, events in found.items()
    )
