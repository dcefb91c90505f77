"""`bin/serve`: the annotator as an HTTP service."""

from __future__ import annotations

import os
from importlib.util import find_spec
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated

import typer

from ..annotation.annotator import Annotator
from ..annotation.settings import Settings
from ..errors import MissingExtraError, UserError
from ..files import read_text
from ..runs.progress import ProgressDisplay
from .options import QuietOption, WorkersOption, asked_workers, takes_settings
from .run import CommandLine, note

KEY_VARIABLE = "NER_API_KEY"


@takes_settings()
def serve(
    settings: Settings,
    host: Annotated[str, typer.Option(help="Address to listen on.", rich_help_panel="Service")] = "127.0.0.1",
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="Port; 0 for a free one.", rich_help_panel="Service")
    ] = 8000,
    workers: WorkersOption = "1",
    queue: Annotated[
        int,
        typer.Option(min=1, help="Requests taken at once; more get 503.", rich_help_panel="Service"),
    ] = 256,
    max_texts: Annotated[
        int, typer.Option(min=1, help="Most texts in a request.", rich_help_panel="Service")
    ] = 256,
    max_characters: Annotated[
        int, typer.Option(min=1, help="Longest text.", rich_help_panel="Service")
    ] = 200_000,
    max_bytes: Annotated[
        int, typer.Option(min=1, help="Largest body, or line of a stream.", rich_help_panel="Service")
    ] = 2_000_000,
    time_limit: Annotated[
        float, typer.Option(min=0.1, help="Seconds for a request.", rich_help_panel="Service")
    ] = 60.0,
    api_key_file: Annotated[
        Path | None,
        typer.Option(
            help=f"File with the key that clients must send. Default: the variable {KEY_VARIABLE}, if set.",
            rich_help_panel="Service",
        ),
    ] = None,
    allow_host: Annotated[
        list[str] | None,
        typer.Option(
            help="Another name of this service, as a proxy in front of it passes on. Repeatable.",
            rich_help_panel="Service",
        ),
    ] = None,
    allow_origin: Annotated[
        list[str] | None,
        typer.Option(
            help="Site whose pages may call the service (CORS). Repeatable.", rich_help_panel="Service"
        ),
    ] = None,
    log_texts: Annotated[
        bool, typer.Option(help="Write texts into the log, too.", rich_help_panel="Service")
    ] = False,
    quiet: QuietOption = False,
) -> None:
    """Serve the annotator over HTTP, with a page to play in.

    \b
    Examples:
      constrained-ner serve
      constrained-ner serve --model gemma3-270m --port 9000 --workers 2
      curl localhost:8000/v1/annotate --json '{"texts": ["Take aspirin."]}'
    """
    for package in ("fastapi", "uvicorn", "httptools", "prometheus_client"):
        if find_spec(package) is None:
            raise MissingExtraError(package, "serve")
    from ..service.limits import Limits
    from ..service.serving import serve_until_stopped

    limits = Limits(
        queue=queue, texts=max_texts, characters=max_characters, body_bytes=max_bytes, time_s=time_limit
    )
    key = _key(api_key_file)
    private = _is_private(host)
    if not private and key is None:
        note(f"{host}: whoever reaches this machine can use the service; --api-key-file asks for a key")
    serve_until_stopped(
        lambda: Annotator.load(settings=settings, notify=note),
        settings,
        asked_workers(workers),
        (host, port),
        limits,
        key=key,
        hosts=tuple(allow_host or ()) if private else None,
        origins=allow_origin or (),
        log_texts=log_texts,
        progress=ProgressDisplay(quiet=quiet),
    )


def _key(path: Path | None) -> str | None:
    if path is None:
        return os.environ.get(KEY_VARIABLE) or None
    key = read_text(path, UserError).strip()
    if not key or not key.isascii() or any(character.isspace() for character in key):
        raise UserError(f"{path}: must hold one key, in ASCII and without blanks")
    return key


def _is_private(host: str) -> bool:
    try:
        return ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"


main = CommandLine(serve)
