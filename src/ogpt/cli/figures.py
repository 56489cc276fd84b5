"""Events and numbers as readable text: pure functions, so that the output is tested."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ogpt.reporting import measures

if TYPE_CHECKING:
    from ogpt.evaluation.paper_results import Reproduction
    from ogpt.generation.texts.statistics import Statistics
    from ogpt.generation.texts.text_scores import Score
    from ogpt.recipes.demo import DemoResult
    from ogpt.workflows.convert import Conversion
    from ogpt.workflows.evaluate_probes import ProbesResult
    from ogpt.workflows.finetune_sweep import FinetuneSweep
    from ogpt.workflows.generate import FileResult
    from ogpt.workflows.quantize import Quantization


def count(number: float) -> str:
    """A whole number with thousands separators: 12,345."""
    return f"{number:,.0f}"


def short_count(number: float) -> str:
    """A large number with a unit: 116.5 M."""
    for unit, size in (("T", 1e12), ("G", 1e9), ("M", 1e6), ("k", 1e4)):
        if abs(number) >= size:
            return f"{number / (1e3 if unit == 'k' else size):.1f} {unit}"
    return f"{number:,.0f}"


def size(n_bytes: float) -> str:
    """Bytes in the nearest binary unit: 1.5 GiB."""
    for unit in ("B", "KiB", "MiB"):
        if n_bytes < 1024:
            return f"{n_bytes:.0f} {unit}" if unit == "B" else f"{n_bytes:.1f} {unit}"
        n_bytes /= 1024
    return f"{n_bytes:.1f} GiB"


def duration(seconds: float) -> str:
    """Seconds as 0:07, 12:34, 5:06:07 or 2 d 3 h."""
    whole = round(seconds)
    minutes, second = divmod(whole, 60)
    hours, minute = divmod(minutes, 60)
    days, hour = divmod(hours, 24)
    if days:
        return f"{days} d {hour} h"
    if hours:
        return f"{hours}:{minute:02}:{second:02}"
    return f"{minutes}:{second:02}"


def amount(number: float, unit: str) -> str:
    """A number with its unit: `1,200 files`, `1.5 MiB`."""
    return size(number) if unit == "bytes" else f"{count(number)} {unit}"


def progress_facts(done: float, total: float, unit: str, eta_s: float | None) -> str:
    """Progress of a task: `1,200 of 5,000 files  0:42 left`; total 0 is unknown."""
    far = amount(done, unit)
    if total:
        far = f"{far.removesuffix(f' {unit}')} of {amount(total, unit)}"
    return far if eta_s is None else f"{far}  {duration(eta_s)} left"


def end_facts(done: float, unit: str, seconds: float) -> str:
    """Result of a task: `5,000 files in 1:12`."""
    return f"{amount(done, unit)} in {duration(seconds)}"


def train_facts(fields: Mapping[str, Any]) -> str:
    """One training report: step, loss, speed, MFU, time left."""
    parts = [f"{count(fields['step'])}/{count(fields['total_steps'])}"]
    for name, value in measures("train", fields).items():
        parts.append(f"{name.replace('_', ' ')} {value:.3f}")
    if (speed := fields.get("tokens_per_s")) is not None:
        parts.append(f"{count(speed)} tok/s")
    if (mfu := fields.get("mfu")) is not None:
        parts.append(f"MFU {mfu:.0%}")
    if (eta := fields.get("eta_s")) is not None:
        parts.append(f"{duration(eta)} left")
    return "  ".join(parts)


def scores(fields: Mapping[str, Any]) -> str:
    """Result of an evaluation: the loss and further measures."""
    forms = {"perplexity": "perplexity {:,.2f}", "bits_per_byte": "{:.4f} bits/byte"}
    found = measures("eval", fields)
    return "  ".join(
        forms.get(name, f"{name.replace('_', ' ')} {{:.4f}}").format(value)
        for name, value in found.items()
    )


def speed(statistics: Statistics, bandwidth: float | None = None) -> str:
    """Generation speed; scripts read `N tokens/s`.

    Args:
        statistics: Of the generation.
        bandwidth: Of the memory, bytes a second; None where it says nothing.
    """
    floor = f"no share of the bandwidth floor: {statistics.why_no_share}"
    if bandwidth is not None and statistics.weight_bytes is not None:
        floor = (
            f"{statistics.share_of_floor(bandwidth):.0%} of the bandwidth floor: "
            f"{statistics.weight_bytes / 1e6:,.1f} MB of weights per token at "
            f"{bandwidth / 1e9:.1f} GB/s"
        )
    return (
        f"{statistics.new_tokens} new tokens in {statistics.seconds:.3f} s "
        f"(the first after {statistics.seconds_to_first_token:.3f} s; {floor}): "
        f"{statistics.tokens_per_s:.1f} tokens/s"
    )


def rows_written(made: FileResult) -> str:
    """Result of `generate --data`: `out.jsonl: 12 rows, 5 of them from an earlier run`."""
    kept = f", {count(made.kept)} of them from an earlier run" if made.kept else ""
    return f"{made.file}: {count(made.rows)} rows{kept}"


def score_facts(score: Score) -> dict[str, Any]:
    """The score of a text, by name."""
    return {
        "log-probability": score.log_prob,
        "per token": score.mean,
        "per byte": score.per_byte,
        "perplexity": score.perplexity,
        "scored tokens": len(score.tokens),
    }


def choices_table(scores: Sequence[Score]) -> str:
    """Choices in their order, one per line; `*` marks the best sum, mean and value per byte."""
    columns = [
        [one.log_prob for one in scores],
        [one.mean for one in scores],
        [one.per_byte for one in scores],
    ]
    lines = [f"{'sum':>11}{'mean':>11}{'per byte':>11}  choice"]
    for place, one in enumerate(scores):
        cells = "".join(
            f"{column[place]:10.4f}{'*' if column[place] == max(column) else ' '}"
            for column in columns
        )
        lines.append(f"{cells}  {one.text}")
    return "\n".join(lines)


def quantization(made: Quantization) -> list[str]:
    """The result of `quantize`: sizes, and the change in loss."""
    sizes = f"{size(made.original_bytes)} of weights became {size(made.weights_bytes)}"
    first = f"{made.folder}: {sizes} ({made.to})"
    found = made.comparison
    if found is None:
        return [first]
    worse = found.perplexity / found.original_perplexity - 1
    return [
        first,
        f"on {count(found.tokens)} tokens:",
        f"{'':10}{'loss':>10}{'perplexity':>14}",
        f"{'original':10}{found.original_loss:10.4f}{found.original_perplexity:14,.3f}",
        f"{made.to:10}{found.loss:10.4f}{found.perplexity:14,.3f}  ({worse:+.2%})",
        f"KL divergence {found.kl_divergence:.2g} nats, same top token {found.top_1_agreement:.1%}",
    ]


def sweep(made: FinetuneSweep) -> str:
    """Result of `finetune --seeds --grid`: a section for each point of the grid; `*` marks it."""
    lines = []
    for index, point in enumerate(made.points):
        name = ", ".join(
            f"{key.partition('.')[2]} {value}" for key, value in point.settings.items()
        )
        mark = "* " if index == made.chosen and len(made.points) > 1 else ""
        seeds = f"{len(point.runs)} seed{'s' * (len(point.runs) > 1)}"
        lines.append(f"{mark}{name}, {seeds}" if name else seeds)
        lines.append(f"{'':24}{'median':>9}{'best':>9}{'mean':>9}  95 % interval of the mean")
        for split, spreads in {"validation": point.valid, **point.test}.items():
            lines += [
                f"{f'{split} {measure}':24}{one.median:9.4f}{one.best:9.4f}{one.mean:9.4f}"
                f"  {_interval(one.low, one.high)}"
                for measure, one in spreads.items()
            ]
        lines.append("")
    lines += [
        f"{f'{split} {made.metric}':24}{score:9.4f}  in the paper"
        for split, score in made.paper_scores.items()
    ]
    lines.append(f"chosen by validation {made.metric}: {made.best_run}")
    return "\n".join(lines)


def _interval(low: float | None, high: float | None) -> str:
    from ogpt.evaluation.task_scores import interval_text  # NumPy, which most commands do not need

    return interval_text(low, high)


def probe_table(made: ProbesResult) -> str:
    """Result of `evaluate --probes`: a line for each set."""
    lines = [
        f"{'probe':10}{'metric':10}{'value':>8}  {'95 % interval':18}{'normalized':>10}{'rows':>8}"
    ]
    lines += [
        f"{name:10}{one.metric:10}{one.value:8.4f}  {_interval(one.low, one.high):18}"
        f"{one.normalized:10.2f}{count(one.rows):>8}"
        for name, one in made.probes.items()
    ]
    return "\n".join(lines)


def reproduction(made: Reproduction) -> str:
    """Result of `reproduce`: the scores that there are beside the paper's, and what is missing."""
    lines = [made.title, f"{'':28}{'measure':10}{'paper':>8}{'ours':>8}  95 % interval"]
    for one in (each for each in made.scores if each.seeds):
        name = one.column if len(made.variants) == 1 else f"{one.column}, {one.variant}"
        low, high = one.low, one.high
        interval = "" if low is None or high is None else f"  {low:.1f} to {high:.1f}"
        interval = interval if one.ours is not None else "  not defined"
        on = f" ({one.scored_on} set)" if one.scored_on else ""
        numbers = "".join(
            f"{'-' if value is None else f'{value:.1f}':>8}" for value in (one.paper, one.ours)
        )
        lines.append(f"{name:28}{one.metric:10}{numbers}{interval}{on}")
    lines += [f"missing: {one.title}, from {one.owner}" for one in made.missing]
    lines += [f"{made.variants[name]}: {how}" for name, how in made.absent.items()]
    lines.append(f"report: {made.report}")
    return "\n".join(lines)


def demo_story(result: DemoResult) -> str:
    """Result of the demo: samples, scores beside n-gram models, the task, how to use the model."""
    lines = [f"{sample.prompt}{sample.text}\n" for sample in result.samples]
    lines.append(f"{'validation set':14}{'loss':>8}{'perplexity':>12}{'bits/byte':>11}")
    lines += [
        f"{score.name:14}{score.loss:8.4f}{score.perplexity:12.2f}{score.bits_per_byte:11.4f}"
        for score in result.scores
    ]
    lines += [
        f"{result.verdict}\n",
        f"{result.task.verdict}\n",
        f"report: {result.report}",
        f"generate with it: {result.command}",
        f"write with it: {result.serve_command}, then open {result.page_address}",
    ]
    return "\n".join(lines)


def event_line(kind: str, fields: Mapping[str, Any]) -> str | None:
    """The line of an event that stays on the screen; None for other kinds."""
    match kind:
        case "message":
            return str(fields["text"])
        case "eval":
            return f"validation at step {count(fields['step'])}: {scores(fields)}"
        case "probe":
            return (
                f"probe {fields['name']} at step {count(fields['step'])}: {fields['metric']} "
                f"{fields['value']:.4f}, normalized {fields['normalized']:.2f}"
            )
        case "checkpoint":
            return f"saved {fields['path']} ({fields['reason']})"
        case "plan":
            unit = "examples" if "examples_per_step" in fields else "tokens"
            return (
                f"{short_count(fields['parameters'])} parameters, "
                f"{count(fields['total_steps'])} steps of "
                f"{count(fields[f'{unit}_per_step'])} {unit}"
            )
    return None


def value_text(name: str, value: Any) -> str:
    """A readable value; the end of its name is the unit (`eta_s`, `memory_bytes`)."""
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int | float):
        if abs(value) >= 1e6 and isinstance(value, float):
            return short_count(value)
        if name.endswith("_per_s"):
            return count(value)
        if name.endswith("_s"):
            return duration(value)
        if name.endswith("_bytes"):
            return size(value)
        if name == "mfu":
            return f"{value:.1%}"
        return count(value) if isinstance(value, int) else f"{value:.6g}"
    if isinstance(value, tuple) and getattr(value, "_fields", ()) == ("value", "low", "high"):
        found, low, high = value
        return f"{found:.4f} ({_interval(low, high)})"
    if isinstance(value, list | tuple):
        return ", ".join(str(item) for item in value)
    return str(value)


def table(facts: Mapping[str, Any]) -> str:
    """Facts in two aligned columns, one per line; a mapping inside is a section with its name."""
    sections = {
        name: value for name, value in facts.items() if isinstance(value, Mapping) and value
    }
    facts = {name: value for name, value in facts.items() if value != {}}
    rows = {name: value for name, value in facts.items() if name not in sections}
    width = max((len(name) for name in rows), default=0)
    lines = [f"{name:{width}}  {value_text(name, value)}" for name, value in rows.items()]
    for name, section in sections.items():
        body = table(section).splitlines()
        lines += [*([""] if lines else []), name, *(f"  {line}".rstrip() for line in body)]
    return "\n".join(lines)


def conversion(made: Conversion) -> list[str]:
    """Result of `convert`, in three lines."""
    what = f"{made.architecture}, {short_count(made.parameters)} parameters"
    dropped = f"{len(made.dropped)} dropped"
    if made.dropped:
        rest = f" and {len(made.dropped) - 1} more" if len(made.dropped) > 1 else ""
        dropped += f" ({made.dropped[0]}{rest})"
    return [
        f"{made.folder}: {what}, {' and '.join(made.dtypes)}",
        f"arrays from {made.source_format} to {made.format}: {len(made.renamed)} renamed, "
        f"{dropped}, {len(made.added)} added",
        "tokenizer: converted" if made.tokenizer else "tokenizer: none in the source",
    ]
