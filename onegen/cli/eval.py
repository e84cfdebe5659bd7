"""`onegen eval`: a protocol's pictures drawn and scored, any folder of pictures scored, and the report of all.

A protocol is imported when it is asked for, torch when a picture is drawn.
"""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from onegen.cli.exit_codes import ExitCode
from onegen.errors import ConfigError
from onegen.eval.table import PROTOCOLS, make_protocol

if TYPE_CHECKING:
    from onegen.eval.protocol import Protocol
    from onegen.eval.records import Result

Data = Annotated[Path | None, typer.Option(help="the benchmark's data, in its own layout", metavar="PATH")]
Out = Annotated[Path, typer.Option(help="folder of results", metavar="DIR")]
Options = Annotated[
    list[str] | None, typer.Option("--option", "-O", help="NAME=VALUE of the protocol; repeat", metavar="NAME=VALUE")
]
Name = Annotated[str, typer.Option(help="what the report calls these pictures; default: of model or folder")]
Shard = Annotated[str, typer.Option(help="i/n: every n-th part of the work, from the i-th (0 ...) on")]
Workers = Annotated[int, typer.Option(min=0, help="processes; 0: this one")]
Kind = Annotated[str, typer.Option(help="kind of workers: local or ray")]
Address = Annotated[str | None, typer.Option(help="of a Ray cluster, with --executor ray")]
Partial = Annotated[bool, typer.Option("--partial", help="score what is there, and say how much is not")]


@dataclass(frozen=True, slots=True)
class _Work:
    """What both steps share: whose pictures, where results go, and who does the work."""

    out: Path
    name: str
    shard: str
    workers: int
    executor: str
    address: str | None
    is_partial: bool
    num_gpus: float = 0.0


def run_verb(protocol: str) -> Callable[..., ExitCode | None]:
    """Return the verb that draws a protocol's pictures with a model, and scores them."""

    def run(
        context: typer.Context,
        model: Annotated[str, typer.Option(help="model folder or hub id", metavar="PATH_OR_ID")] = "",
        data: Data = None,
        out: Out = Path("results"),
        option: Options = None,
        name: Name = "",
        steps: Annotated[int | None, typer.Option(help="default: the paper's")] = None,
        guidance: Annotated[float | None, typer.Option(help="default: the paper's")] = None,
        height: Annotated[int | None, typer.Option(help="pixels; default: the paper's")] = None,
        width: Annotated[int | None, typer.Option(help="pixels")] = None,
        negative_prompt: Annotated[str, typer.Option(help="what to steer away from")] = "",
        seed: Annotated[int, typer.Option(min=0, help="every picture's noise follows from it")] = 0,
        dtype: Annotated[str, typer.Option(help="float32, bfloat16, float16")] = "float32",
        device: Annotated[str, typer.Option(help="cpu, cuda, cuda:1, mps")] = "cpu",
        shard: Shard = "0/1",
        workers: Workers = 0,
        executor: Kind = "local",
        address: Address = None,
        num_gpus: Annotated[float, typer.Option(min=0, help="of a Ray worker")] = 0.0,
        no_score: Annotated[bool, typer.Option("--no-score", help="draw only")] = False,
        partial: Partial = False,
    ) -> ExitCode | None:
        if context.invoked_subcommand is not None:
            return None
        if not model:
            raise ConfigError(
                f"--model must name a model, got none. To score pictures that are there: onegen eval {protocol} score "
                f"FOLDER."
            )
        from onegen.eval.generate import Drawing
        from onegen.eval.sampling import Sampling

        asked = {
            "steps": steps,
            "guidance": guidance,
            "height": height,
            "width": width,
            "negative_prompt": negative_prompt or None,
        }
        given = {key: value for key, value in asked.items() if value is not None}
        _check_drawing(dtype, device, height, width)
        drawing = Drawing(model=model, sampling=Sampling(**given), seed=seed, dtype=dtype, device=device)
        work = _Work(out, name or _plain(model), shard, workers, executor, address, partial, num_gpus)
        return _run(_make(protocol, data, option), drawing, work, no_score)

    run.__doc__ = f"""{PROTOCOLS[protocol].help}.

    Draws with --model, then scores. What is drawn or scored already stays. docs/evaluation.md has the options (-O).
    """
    return run


def score_verb(protocol: str) -> Callable[..., ExitCode]:
    """Return the verb that scores a folder of pictures."""

    def score(
        folder: Annotated[Path, typer.Argument(help="pictures in the benchmark's own layout", metavar="FOLDER")],
        data: Data = None,
        out: Out = Path("results"),
        option: Options = None,
        name: Name = "",
        shard: Shard = "0/1",
        workers: Workers = 0,
        executor: Kind = "local",
        address: Address = None,
        partial: Partial = False,
    ) -> ExitCode:
        from onegen.eval.records import DRAWINGS, read_generation

        is_ours = folder.name == DRAWINGS
        generation = read_generation(folder.parent) if is_ours else None
        base = generation.options if generation is not None else {}
        own = folder.resolve().parent.name if is_ours else folder.resolve().name
        work = _Work(out, name or own, shard, workers, executor, address, partial)
        return _score(_make(protocol, data, option, base), folder, work)

    score.__doc__ = f"""Score a folder of pictures, whoever drew them: {PROTOCOLS[protocol].help}."""
    return score


def prompts(
    file: Annotated[Path, typer.Argument(help="where to write", metavar="FILE")] = Path("evaluation_metadata.jsonl"),
) -> ExitCode:
    """Write GenEval's 553 prompts, a JSON line each, as the benchmark publishes them: for models that run elsewhere."""
    from onegen.eval.geneval.prompts import prompt_file
    from onegen.storage.whole import whole

    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with whole(file) as part:
            part.write_bytes(prompt_file())
    except OSError as error:
        raise ConfigError(f"FILE must be writable, got {file}: {error.strerror}. Name another.") from error
    typer.echo(file)
    return ExitCode.DONE


def report(
    results: Annotated[Path, typer.Argument(help="folder of results", metavar="RESULTS")] = Path("results"),
) -> ExitCode:
    """Write one page and one JSON of all results: RESULTS/report/index.html and report.json."""
    from onegen.eval.report import write_report

    for path in write_report(results):
        typer.echo(path)
    return ExitCode.DONE


def _make(name: str, data: Path | None, options: list[str] | None, base: dict[str, Any] | None = None) -> "Protocol":
    """Return a protocol with its options; values are read as YAML, so that numbers and lists are."""
    import yaml

    from onegen.config.parse import parse_yaml

    given: dict[str, Any] = dict(base or {})
    for text in options or ():
        key, separator, value = text.partition("=")
        if not separator:
            raise ConfigError(f"--option must be NAME=VALUE, got {text!r}.")
        try:
            given[key.strip()] = parse_yaml(value)
        except yaml.YAMLError as error:
            raise ConfigError(f"--option must be NAME=VALUE, got {text!r}, whose value does not read.") from error
    if data is not None:
        given["data"] = data.expanduser().absolute()
    return make_protocol(name, given)


def _check_drawing(dtype: str, device: str, height: int | None, width: int | None) -> None:
    from onegen.cli.device import find_device, find_dtype
    from onegen.sampler.limits import check_numbers

    check_numbers((height, width), (None, 1), None, 1.0, (1.0, 1.0))
    find_dtype(dtype)
    find_device(device)


def _run(protocol: "Protocol", drawing: Any, work: _Work, is_drawn_only: bool) -> ExitCode:
    from onegen.cli.device import memory_explained
    from onegen.eval.crew import parse_part
    from onegen.eval.generate import generate
    from onegen.eval.records import DRAWINGS

    out = work.out / protocol.label / work.name
    with memory_explained(drawing.device):
        undrawn = generate(protocol, drawing, out, _crew(work), parse_part(work.shard), _progress("drawn"))
    if undrawn:
        typer.echo(
            f"{len(undrawn)} unit(s) ended their worker and are not drawn: {', '.join(undrawn[:3])}. Run with "
            f"--workers 0 to see why.",
            err=True,
        )
        return ExitCode.FAILURES
    if is_drawn_only or work.shard != "0/1":
        typer.echo(f"drawn: {out / DRAWINGS}")
        return ExitCode.DONE
    return _score(protocol, out / DRAWINGS, work)


def _score(protocol: "Protocol", folder: Path, work: _Work) -> ExitCode:
    from onegen.eval.crew import parse_part
    from onegen.eval.records import Result
    from onegen.eval.score import score

    out = work.out / protocol.label / work.name
    part, crew = parse_part(work.shard), _crew(work)
    scored = score(protocol, folder, out, work.name, crew, part, work.is_partial, _progress("scored"))
    if not isinstance(scored, Result):
        typer.echo(f"scored {scored.done} of {scored.of} pieces; the command that scores the last one folds them.")
        return ExitCode.DONE
    print_result(scored)
    typer.echo(f"{out / 'result.json'}")
    return ExitCode.DONE


def _crew(work: _Work) -> Any:
    from onegen.eval.crew import Crew

    if work.executor not in ("local", "ray"):
        raise ConfigError(f"--executor must be local or ray, got {work.executor!r}.")
    return Crew(work.workers, "ray" if work.executor == "ray" else "local", work.num_gpus, work.address)


def _progress(what: str) -> Callable[[int, int], None]:
    is_live = sys.stderr.isatty()

    def say(done: int, of: int) -> None:
        if is_live or done == of:
            typer.echo(f"{chr(13) if is_live else ''}{what} {done} of {of} pieces", nl=done == of, err=True)

    return say


def print_result(result: "Result") -> None:
    """Print the metrics of a result, what was left out, and in what it is not the paper's own."""
    table = f"table {result.table}" if result.table else "our own"
    left_out = f", {result.left_out} left out" if result.left_out else ""
    typer.echo(f"{result.label} of {result.name} ({table}): {result.items:,} items{left_out}")
    width = max((len(metric.name) for metric in result.metrics), default=0)
    for metric in result.metrics:
        if metric.value is not None:
            value = f"{metric.value * metric.scale:10.4f}"
            typer.echo(f"  {metric.name.ljust(width)} {value}  {metric.note}".rstrip())
    for name, way in result.skipped.items():
        typer.echo(f"  {name.ljust(width)}    skipped: {way}")
    for note in filter(None, [result.lacks, *result.approximations]):
        typer.echo(f"  not the benchmark's own: {note}")


def _plain(model: str) -> str:
    """Return a model's name as a folder is called."""
    return Path(model).resolve().name if Path(model).exists() else model.replace("/", "--")
