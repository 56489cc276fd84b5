"""Settings of the server: where it listens, who may use it, and how much a request may ask for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ogpt.config.described import Option, described, keep_fields, with_field_docs
from ogpt.config.ranges import Networks, Number, String, Switch, Texts, Whole
from ogpt.errors import ConfigError

LOOPBACK = ("127.0.0.1", "::1", "localhost")
"""Hosts that only programs on the same machine reach."""

ADDRESS = "Address and access"
LIMITS = "Limits"
DOCUMENTS = "Documents"


@with_field_docs
@dataclass(frozen=True, slots=True, kw_only=True)
class ServerSettings:
    """Settings of `ogpt serve`.

    >>> from ogpt import ServerSettings
    >>> ServerSettings(max_queued=8).port
    8000

    Raises:
        ConfigError: a value outside its range.
    """

    host: str = described(
        "127.0.0.1",
        "Address to listen on; 0.0.0.0 for all of IPv4.",
        String(),
        "pass 127.0.0.1 to serve this machine only",
        Option(panel=ADDRESS),
    )
    port: int = described(
        8000,
        "Port to listen on; 0 for any that is free.",
        Whole(0, 65_535),
        "pass a port above 1023, or 0",
        Option(panel=ADDRESS),
    )
    api_key: str | None = described(
        None,
        "Key that clients must send (Authorization: Bearer KEY).",
        String(optional=True),
        "omit it to serve without a key",
    )
    allowed_hosts: Sequence[str] = described(
        (),
        "Host name in addition to the address and localhost under which clients may reach the "
        "server; repeatable.",
        Texts(),
        "pass for example gpt.example.org",
        Option("--allow-host", ADDRESS, "NAME"),
    )
    allowed_origins: Sequence[str] = described(
        (),
        "Origin of web pages that may use the server; repeatable.",
        Texts(),
        "pass for example https://example.org",
        Option("--allow-origin", ADDRESS, "URL"),
    )
    trusted_proxies: Sequence[str] = described(
        (),
        "Address or network of a proxy whose X-Forwarded-For names the client; repeatable.",
        Networks(),
        "pass for example 127.0.0.1 or 10.0.0.0/8",
        Option("--trusted-proxy", ADDRESS, "ADDRESS"),
    )
    root_path: str = described(
        "",
        "Path under which a proxy serves it, such as /gpt, and which the proxy removes.",
        String(least=0),
        "pass for example /gpt, or an empty text",
        Option(panel=ADDRESS),
    )
    documents: str | None = described(
        None,
        "Where documents are kept: a file of SQLite, or postgresql://USER@HOST/NAME.",
        String(optional=True),
        "omit it for a file in your data folder",
        Option(panel=DOCUMENTS, metavar="PATH|URL", shown_default="a file in your data folder"),
    )
    keep_documents: bool = described(
        True,
        "Keep documents.",
        Switch(),
        "True keeps documents, False does not",
        Option("--no-documents", DOCUMENTS, switches_off="Keep no documents."),
    )
    max_document_bytes: int = described(
        16 * 2**20,
        "Maximum size of a document in bytes, with the provenance of its machine text.",
        Whole(1024),
        "pass at least 1024",
        Option(panel=DOCUMENTS),
    )
    slots: int = described(
        32,
        "Number of texts generated at the same time; each holds a KV cache.",
        Whole(1, 4096),
        "use fewer to save memory",
        Option(panel=LIMITS),
    )
    max_queued: int = described(
        64,
        "Maximum number of texts that wait; further requests get 429.",
        Whole(),
        "pass 0 to refuse what finds no slot",
        Option(panel=LIMITS),
    )
    max_time: float = described(
        300.0,
        "Maximum number of seconds for a request, the time in the queue included.",
        Number(0, above=True),
        "pass for example 300",
        Option(panel=LIMITS),
    )
    max_body_bytes: int = described(
        4 * 2**20,
        "Maximum size of a request in bytes.",
        Whole(1024),
        "pass at least 1024",
        Option(panel=LIMITS),
    )
    max_prompt_tokens: int = described(
        16_384,
        "Maximum number of prompt tokens in a request.",
        Whole(1),
        "pass at least 1",
        Option(panel=LIMITS),
    )
    max_n: int = described(
        128,
        "Maximum number of continuations in a request: prompts times n, or best_of.",
        Whole(1),
        "pass at least 1",
        Option(panel=LIMITS),
    )
    max_tokens: int = described(
        4096,
        "Maximum number of new tokens in a continuation.",
        Whole(1),
        "pass at least 1",
        Option(panel=LIMITS),
    )
    max_logprobs: int = described(
        20,
        "Maximum number of top tokens reported at each position.",
        Whole(),
        "pass 0 to report no alternatives",
        Option(panel=LIMITS),
    )
    requests_per_minute: int = described(
        0,
        "Maximum number of requests per minute of a client; 0 disables.",
        Whole(),
        "pass 0 for no limit",
        Option(panel=LIMITS),
    )
    receive_timeout: float = described(
        30.0,
        "Seconds in which a client must send its request, or read what was sent to it.",
        Number(0, above=True),
        "pass for example 30",
        Option(panel=LIMITS),
    )
    drain_timeout: float = described(
        30.0,
        "Seconds that running requests have to finish when the server is stopped.",
        Number(0),
        "pass 0 to end them at once",
        Option(panel=LIMITS),
    )
    models_in_memory: int = described(
        1,
        "Number of models in memory; of more, the least recently used one leaves.",
        Whole(1),
        "pass at least 1",
        Option(panel=LIMITS),
    )
    strict: bool = described(
        False,
        "Refuse (400) a request that would get a warning.",
        Switch(),
        "True refuses, False warns",
        Option(),
    )
    log_prompts: bool = described(
        False,
        "Log prompts, which may be private.",
        Switch(),
        "False keeps prompts out of the log",
        Option(),
    )

    def __post_init__(self) -> None:
        keep_fields(self, ConfigError)
